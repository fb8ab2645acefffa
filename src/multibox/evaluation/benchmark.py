"""A model's speed on every engine, precision and batch: one fresh process after another, and a row from each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from multibox.errors import DataError, ModelError, MultiboxError, UsageError
from multibox.evaluation.bare_file import write_bare
from multibox.evaluation.probe import PEER, Job
from multibox.evaluation.speed import SpeedReport, SpeedRow
from multibox.evaluation.stopwatch import WARM_CALLS
from multibox.images.read import read_size
from multibox.prediction.engines.onnx_file import read_onnx
from multibox.prediction.sources import expand

Progress = Callable[[int, int, str], None]
"""Called with (configurations done, all of them, what the last one gave) after each."""

_PACKAGES = ("multibox", "numpy", "opencv-python-headless", "onnxruntime", "openvino", "torch", "torchvision")
_MOST_PICTURES = 64
"""Of a folder, so many are held in memory."""
_BUSY = 0.25
"""Load per core from which on other programs are worth a note."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model to be measured: `label` names it in rows, `weights` run on torch, `exported` on the other engines, `peer`
    is the file of its twin (`evaluation.peer`). Each may be none."""

    label: str
    weights: Path | None = None
    exported: Path | None = None
    peer: Path | None = None


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What is measured. `engines` and `threads` none: all that are installed, all cores."""

    engines: tuple[str, ...] | None = None
    precisions: tuple[str, ...] = ("fp32",)
    batches: tuple[int, ...] = (1, 8, 32)
    threads: int | None = None
    seconds: float = 2.0
    """Per measurement, of which a configuration has three or four."""
    rounds: int | None = None
    """Instead of `seconds`."""

    def __post_init__(self) -> None:
        """Raises `UsageError` for numbers out of range."""
        least = {"batch": min(self.batches, default=0), "threads": self.threads, "rounds": self.rounds}
        for name, value in least.items():
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; it must be 1 or more")
        if self.rounds is None and not self.seconds > 0:
            raise UsageError(f"seconds is {self.seconds}; it must be more than 0")


def benchmark(
    subjects: Sequence[Subject],
    source: str | Path,
    options: BenchmarkOptions,
    folder: Path,
    progress: Progress | None = None,
) -> SpeedReport:
    """Measures the subjects on the pictures of `source` (a file, a folder, a glob); `folder` holds files in between.

    A configuration that fails is a sentence in the report's `problems`, and the others are measured. Raises `DataError`
    where `source` has no picture that can be read, `ModelError` where no engine here opens a model.
    """
    pictures = find_pictures(source)
    notes = _busy()
    jobs = [job for subject in subjects for job in _jobs(subject, pictures, options, folder, notes)]
    rows: list[SpeedRow] = []
    problems: list[str] = []
    for number, job in enumerate(jobs, 1):
        try:
            rows.append(run(job))
            told = f"{rows[-1].latency.p50:.1f} ms"
        except MultiboxError as error:
            told = str(error)
            problems.append(f"{job.name}: {error}")
        if progress is not None:
            progress(number, len(jobs), f"{job.name}: {told}")
    return SpeedReport(
        rows=tuple(rows), threads=options.threads or cores(), cores=cores(),
        pictures=f"{len(pictures)} picture{'' if len(pictures) == 1 else 's'} of {source}",
        warm_up=f"{WARM_CALLS} calls (2 where they take longer than a second)",
        versions={name: version for name in _PACKAGES if (version := _version(name))},
        peer=PEER if any(job.peer for job in jobs) else None,
        problems=tuple(problems), notes=tuple(notes),
    )  # fmt: skip


def run(job: Job) -> SpeedRow:
    """The row of a job, measured in a fresh process. Raises `MultiboxError` with the reason where that failed."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(job.threads)}
    command = [sys.executable, "-m", "multibox.evaluation.probe"]
    given = json.dumps({"job": asdict(job), "started": time.time()})
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment, check=False)
    if done.returncode < 0:
        raise MultiboxError(f"its process was ended by signal {-done.returncode} (9: mostly for lack of memory)")
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise MultiboxError(f"its process failed ({said[-1]})")
    answer = json.loads(lines[-1])
    if "error" in answer:
        raise (ModelError if answer["code"] == ModelError.exit_code else MultiboxError)(answer["error"])
    return SpeedRow.from_dict(answer["row"])


def _jobs(
    subject: Subject, pictures: Sequence[Path], options: BenchmarkOptions, folder: Path, notes: list[str]
) -> list[Job]:
    """One job per engine, precision and batch of a subject, the peer's own first."""
    engines = _engines(subject, options.engines)
    bare = _bare(subject, folder, notes) if {"openvino", "onnxruntime"} & set(engines) else None
    sides = [(engine, precision) for engine in engines for precision in _precisions(subject, engine, options)]
    if subject.peer is not None:
        sides.insert(0, (PEER, "fp32"))
    return [
        Job(
            label=subject.label, model=str(subject.weights if engine == "torch" else subject.exported),
            engine=engine, precision=precision, batch=batch, threads=options.threads or cores(),
            pictures=tuple(str(path) for path in pictures), seconds=options.seconds, rounds=options.rounds,
            bare=None if engine in ("torch", PEER) or bare is None else str(bare),
            peer=None if subject.peer is None else str(subject.peer),
        )
        for engine, precision in sides
        for batch in options.batches
    ]  # fmt: skip


def _engines(subject: Subject, asked: Sequence[str] | None) -> list[str]:
    """The engines that are asked for, or those that are installed, as far as they run a file of the subject."""
    fitting = ["openvino", "onnxruntime"] if subject.exported is not None else []
    fitting += ["torch"] if subject.weights is not None else []
    chosen = [engine for engine in fitting if (_version(engine) if asked is None else engine in asked)]
    if not chosen:
        wanted = f"of {', '.join(asked)} " if asked else "that is installed "
        raise ModelError(f"{subject.label}: no engine {wanted}runs it; those that would: {', '.join(fitting)}")
    return chosen


def _precisions(subject: Subject, engine: str, options: BenchmarkOptions) -> tuple[str, ...]:
    """Those that are asked for, as far as the engine can choose; a file of int8 or fp16 has its own alone."""
    own = "fp32" if engine == "torch" or subject.exported is None else read_onnx(subject.exported).precision
    if own not in ("fp32", "bf16"):
        return (own,)
    return options.precisions if engine != "onnxruntime" else (own,)


def _bare(subject: Subject, folder: Path, notes: list[str]) -> Path | None:
    """The exported file without post-processing, or none and a note."""
    assert subject.exported is not None
    target = folder / f"{subject.exported.stem}.bare.onnx"
    try:
        write_bare(subject.exported, target)
    except ModelError as error:
        notes.append(str(error))
        return None
    return target


def find_pictures(source: str | Path) -> list[Path]:
    """The pictures of a source, the first 64. Raises `DataError` for none, and for one that cannot be read."""
    found: list[Path] = []
    for entry in expand(source):
        if entry.error is not None:
            raise DataError(entry.error)
        if entry.path is not None and not entry.video and len(found) < _MOST_PICTURES:
            read_size(entry.path)
            found.append(entry.path)
    if not found:
        raise DataError(f"{source}: no pictures; a benchmark takes pictures, not videos")
    return found


def _busy() -> list[str]:
    """A note where other programs run, since times are then too long and widely spread."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load <= _BUSY * cores():
        return []
    return [f"other programs kept {load:.1f} of {cores()} cores busy in the last minute; times are too long for it"]


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str | None:
    """The installed version, without importing anything."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
