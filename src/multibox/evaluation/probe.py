"""One configuration measured in a fresh process: `python -m multibox.evaluation.probe`, a job as JSON in, a row out.

A process of its own is what makes start and peak memory true, and keeps one runtime's threads out of another's times.
Nothing heavy is imported before the clock of the start stands still, but what a prediction itself needs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from multibox.errors import MultiboxError

if TYPE_CHECKING:
    from multibox.evaluation.speed import Ratio
    from multibox.evaluation.stopwatch import Call, Effort
    from multibox.prediction.detector import Detector
    from multibox.prediction.engines.base import Engine

PEER = "torchvision"
"""Stands where an engine's name does: torchvision's own model, which the job's `peer` holds."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to measure: files (pictures as paths), where it is run, and how long. `label` is what rows call the model.

    `bare` is the exported file without its post-processing, `peer` the file of torchvision's twin; either may be none.
    """

    label: str
    model: str
    engine: str
    precision: str
    batch: int
    threads: int
    pictures: tuple[str, ...]
    seconds: float
    rounds: int | None
    bare: str | None = None
    peer: str | None = None

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.label} {self.engine} {self.precision} batch {self.batch}"

    @property
    def choice(self) -> Literal["bf16"] | None:
        """The precision that is chosen when the file is opened; none: the file's own."""
        return "bf16" if self.precision == "bf16" else None


def main() -> int:
    """Reads {"job": ..., "started": ...} (seconds of `time.time()` when the process was asked for) from stdin, prints
    {"row": ...}, or {"error": ...} for what a user can cause."""
    given = json.load(sys.stdin)
    job = Job(**{**given["job"], "pictures": tuple(given["job"]["pictures"])})
    try:
        answer: dict[str, Any] = {"row": measure(job, given["started"])}
    except MultiboxError as error:
        answer = {"error": str(error), "code": error.exit_code}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def measure(job: Job, started: float) -> dict[str, Any]:
    """The row of a job in plain types, start first, then the stream, memory, the call, its parts, and the peer."""
    import cv2

    cv2.setNumThreads(job.threads)
    side = _Peer(job) if job.engine == PEER else _Ours(job)
    side.first()
    start_seconds = time.time() - started
    from multibox.evaluation.speed import SpeedRow
    from multibox.evaluation.stopwatch import Effort, Spread, take_turns

    effort = Effort(seconds=job.seconds, rounds=job.rounds)
    rate = [side.chunk / (value / 1000) for value in take_turns({"stream": side.stream}, effort)["stream"]]
    latency = take_turns({"call": side.call}, effort)["call"]
    memory = peak_megabytes()
    parts = take_turns(side.parts(), effort)
    row = SpeedRow(
        model=job.label, engine=job.engine, precision=job.precision, batch=job.batch, threads=job.threads,
        latency=Spread.of(latency), rate=Spread.of(rate),
        steps={name: Spread.of(values) for name, values in _told_apart(parts).items()},
        start_seconds=start_seconds, peak_megabytes=memory,
    )  # fmt: skip
    if job.peer is not None and job.engine != PEER:
        row = replace(row, against=_race(side.call, job, effort))
    return asdict(row)


def _told_apart(parts: dict[str, list[float]]) -> dict[str, list[float]]:
    """Engine and network as network and post: the difference of every round, which may be below nothing by noise."""
    if "network" not in parts:
        return parts
    engine = parts.pop("engine")
    return {**parts, "post": [whole - bare for whole, bare in zip(engine, parts["network"], strict=True)]}


def _race(call: Call, job: Job, effort: Effort) -> Ratio:
    """Our call and the peer's in turns."""
    from multibox.evaluation.speed import Ratio
    from multibox.evaluation.stopwatch import Spread, take_turns

    times = take_turns({"ours": call, "theirs": _Peer(job).call}, effort)
    single = Spread.of([theirs / ours for ours, theirs in zip(times["ours"], times["theirs"], strict=True)])
    ours, theirs = Spread.of(times["ours"]), Spread.of(times["theirs"])
    return Ratio(times=theirs.p50 / ours.p50, low=single.p10, high=single.p90, peer=theirs)


class _Ours:
    """A detector on an engine, and its parts."""

    def __init__(self, job: Job) -> None:
        from multibox.prediction.detector import load

        self._job = job
        self._detector: Detector = load(job.model, job.engine, threads=job.threads, precision=job.choice)  # type: ignore[arg-type]
        self._pictures: list[bytes] = []

    def first(self) -> None:
        """The first picture, from its file."""
        from multibox.images.read import read_bytes

        next(self._detector.stream(self._job.pictures[0]))
        self._pictures = [read_bytes(path) for path in self._job.pictures]

    @property
    def chunk(self) -> int:
        """Pictures of one `stream`."""
        return max(8, 4 * self._job.batch)

    def call(self) -> object:
        """The bytes of one batch to detections."""
        if self._job.batch == 1:
            return self._detector.predict(self._pictures[0])
        return self._streamed(self._job.batch)

    def stream(self) -> object:
        """Several batches on end: the next pictures are read while the network runs."""
        return self._streamed(self.chunk)

    def _streamed(self, count: int) -> object:
        data = [self._pictures[number % len(self._pictures)] for number in range(count)]
        return list(self._detector.stream(data, batch=self._job.batch, keep_image=False))

    def parts(self) -> dict[str, Call]:
        """The parts of a call, one after the other in one thread."""
        import numpy as np

        from multibox.images.prepare import prepare
        from multibox.images.read import read_image

        engine, spec = self._detector.engine, self._detector.spec
        data = [self._pictures[number % len(self._pictures)] for number in range(self._job.batch)]
        images = [read_image(one) for one in data]
        batch = np.stack([prepare(image, spec.input).pixels for image in images])
        parts: dict[str, Call] = {
            "decode": lambda: [read_image(one) for one in data],
            "resize": lambda: [prepare(image, spec.input) for image in images],
            "engine": lambda: engine.run(batch),
        }
        infer = _open_bare(self._job) if self._job.bare is not None else _network_of(engine)
        return parts if infer is None else {**parts, "network": lambda: infer(batch)}


def _network_of(engine: Engine) -> Callable[[Any], object] | None:
    """The network of an engine whose NMS is done outside of its file; none where it is inside."""
    from multibox.prediction.engines.exported import ExportedEngine

    return engine.infer if isinstance(engine, ExportedEngine) and engine.description.head != "nms" else None


def _open_bare(job: Job) -> Callable[[Any], object]:
    """The network of an exported file without its post-processing, on the job's engine."""
    from multibox.prediction.engines import open_engine

    engine: Any = open_engine(Path(str(job.bare)), job.engine, threads=job.threads, precision=job.choice)  # type: ignore[arg-type]
    infer: Callable[[Any], object] = engine.infer
    return infer


class _Peer:
    """torchvision's own model, used as its documentation does: decode_image, then the model on a list of pictures."""

    def __init__(self, job: Job) -> None:
        import torch

        from multibox.evaluation.peer import open_twin

        torch.set_num_threads(job.threads)
        self._job = job
        self._model = open_twin(Path(str(job.peer)))
        self._data = [Path(job.pictures[number % len(job.pictures)]).read_bytes() for number in range(job.batch)]
        self.chunk = job.batch

    def first(self) -> None:
        """The first picture, from its file."""
        self._run([self._decode(self._data[0])])

    def call(self) -> object:
        """The bytes of one batch to detections."""
        return self._run([self._decode(one) for one in self._data])

    stream = call

    def parts(self) -> dict[str, Call]:
        """The parts of a call; the model resizes too."""
        images = [self._decode(one) for one in self._data]
        return {"decode": lambda: [self._decode(one) for one in self._data], "engine": lambda: self._run(images)}

    def _decode(self, data: bytes) -> Any:
        import torch
        from torchvision.io import ImageReadMode, decode_image

        return decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB) / 255

    def _run(self, images: list[Any]) -> object:
        import torch

        with torch.inference_mode():
            return self._model(images)


def peak_megabytes() -> float | None:
    """The most memory that this process held; none where the system does not tell.

    Not `ru_maxrss` on Linux: that starts at what the parent held.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123  not a file of anybody's
            line = next(line for line in status if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


if __name__ == "__main__":
    sys.exit(main())
