"""A model's speed on every engine, precision and batch: one fresh process after another, and a row from each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from multibox.errors import DataError, ModelError, MultiboxError, UsageError
from multibox.evaluation.bare_file import write_bare
from multibox.evaluation.probe import PEER, Job
from multibox.evaluation.speed import SpeedReport, SpeedRow
from multibox.evaluation.stopwatch import WARM_CALLS
from multibox.images.read import read_size
from multibox.installed import version_of
from multibox.prediction.engines import RUNTIMES, EngineName, has_runtime, is_exported
from multibox.prediction.engines.base import cores
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
    """A file to be measured: `label` names its model in rows, `precision` is that of its network, `peer` the file of
    its twin (`evaluation.peer`), if any."""

    label: str
    file: Path
    precision: str = "fp32"
    peer: Path | None = None

    @property
    def engines(self) -> tuple[EngineName, ...]:
        """What runs such files."""
        return RUNTIMES[self.file.suffix.lower()] if is_exported(self.file) else ("torch",)


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What is measured. `engines` and `threads` none: all that are installed, all cores."""

    engines: tuple[str, ...] | None = None
    precisions: tuple[str, ...] = ("fp32",)
    """Of files in fp32: fp32, bf16 (where the engine computes so); other files have their own alone."""
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
    if not jobs:
        raise ModelError(f"{' '.join(notes[-1:])}; nothing is left to be measured")
    jobs = [replace(job, engine=PEER, precision="fp32", bare=None) for job in _peers(jobs)] + jobs
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
        versions={name: version for name in _PACKAGES if (version := version_of(name))},
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
    """One job per engine, precision and batch of a subject; a note where no engine is there that runs it."""
    asked = options.engines
    engines = [name for name in subject.engines if (has_runtime(name) if asked is None else name in asked)]
    if not engines:
        wanted = f"of {', '.join(asked)} " if asked else "that is installed "
        notes.append(f"{subject.label} {subject.precision}: no engine {wanted}runs {subject.file.name} "
                     f"({', '.join(subject.engines)} would)")  # fmt: skip
        return []
    bare = _bare(subject, folder, notes)
    return [
        Job(
            label=subject.label, model=str(subject.file), engine=engine, precision=precision, batch=batch,
            threads=options.threads or cores(), pictures=tuple(str(path) for path in pictures),
            seconds=options.seconds, rounds=options.rounds,
            bare=None if bare is None else str(bare), peer=None if subject.peer is None else str(subject.peer),
        )
        for engine in engines
        for precision in _precisions(subject, engine, options)
        for batch in options.batches
    ]  # fmt: skip


def _precisions(subject: Subject, engine: str, options: BenchmarkOptions) -> list[str]:
    """Those that are asked for, as far as the engine can choose when it opens the file."""
    if subject.precision != "fp32":
        return [subject.precision]
    chooses = engine == "openvino" or not is_exported(subject.file)
    return [word for word in options.precisions if word == "fp32" or (word == "bf16" and chooses)]


def _peers(jobs: Sequence[Job]) -> list[Job]:
    """One job per twin and batch."""
    found = {(job.peer, job.batch): job for job in reversed(jobs) if job.peer is not None}
    return list(reversed(found.values()))


def _bare(subject: Subject, folder: Path, notes: list[str]) -> Path | None:
    """An .onnx file without the NMS that it holds, or none; a note where it cannot be taken off."""
    if not is_exported(subject.file):
        notes.append(f"{subject.label} {subject.precision} on torch: network and post-processing are not told apart")
        return None
    if subject.file.suffix.lower() != ".onnx":
        notes.append(f"{subject.file.name}: network and post-processing are told apart for .onnx files alone")
        return None
    target = folder / f"{subject.label}.{subject.precision}.bare.onnx"
    try:
        if read_onnx(subject.file).head != "nms":
            return None
        write_bare(subject.file, target)
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
