"""A Ray worker: holds one detector, and turns shards of the manifest into files of results."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import multibox
from multibox.errors import DataError, ModelError, MultiboxError
from multibox.prediction.ahead import ahead
from multibox.prediction.sources import Entry
from multibox.scale.attempts import Attempts
from multibox.scale.files import locate, read
from multibox.scale.job import Job
from multibox.scale.listing import Picture
from multibox.scale.manifest import Manifest
from multibox.scale.results import write_part
from multibox.scale.tables import read_images

if TYPE_CHECKING:
    from multibox.prediction.detector import Detector
    from multibox.prediction.engines import EngineName
    from multibox.prediction.engines.description import Precision
    from multibox.results.prediction import Prediction

_FETCHERS = 16
"""Pictures of an object store that are fetched at once; waiting for them costs no CPU."""
DEADLY = "two workers died while they read this picture; it was passed over"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every worker is told. `files` are the model's, the one to be opened first; none for the built-in one."""

    output: str
    job: Job
    files: dict[str, bytes]
    batch: int
    threads: int


class Outcome(NamedTuple):
    """What became of a shard: pictures, those of them with an error, objects, seconds on the clock and of CPU.

    Where it failed as a whole, `problem` is the sentence and `kind` its class of `multibox.errors`.
    """

    shard: int
    pictures: int = 0
    errors: int = 0
    objects: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    problem: str = ""
    kind: str = ""


class ShardWorker:
    """Called with a column `shard` of numbers; writes a file for each and returns the columns of `Outcome`."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._output = locate(setup.output)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """The outcomes; no failure is raised, so that it reaches the person as one sentence."""
        outcomes = [self._outcome(int(shard)) for shard in batch["shard"]]
        return {name: list(values) for name, values in zip(Outcome._fields, zip(*outcomes, strict=True), strict=True)}

    def _outcome(self, shard: int) -> Outcome:
        try:
            return self._run(shard)
        except MultiboxError as error:
            return Outcome(shard, problem=str(error), kind=type(error).__name__)
        except Exception as error:  # a worker's traceback would name files of another machine
            text = " ".join(str(error).split())
            return Outcome(shard, problem=f"shard {shard}: {type(error).__name__}: {text}", kind="MultiboxError")

    def _run(self, shard: int) -> Outcome:
        detector = self._detector  # opened before the clock starts
        start, cpu = time.perf_counter(), time.process_time()
        attempts = Attempts.begin(self._output, shard)
        pictures = self._manifest.read(shard)
        if attempts.careful:
            found = self._carefully(detector, pictures, attempts)
        else:
            found = self._stream(detector, entries(pictures), self._setup.batch, self._setup.threads)
        write_part(self._output, shard, pictures, found, self._setup.job)
        attempts.end()
        return Outcome(
            shard,
            pictures=len(found),
            errors=sum(one.error is not None for one in found),
            objects=sum(len(one.detections) for one in found),
            seconds=time.perf_counter() - start,
            cpu_seconds=time.process_time() - cpu,
        )

    def _carefully(self, detector: Detector, pictures: Sequence[Picture], attempts: Attempts) -> list[Prediction]:
        """The predictions one after the other, each noted before it is touched."""
        found = []
        for number, entry in enumerate(entries(pictures)):
            alive = attempts.start(number)
            found += self._stream(detector, [entry if alive else Entry(name=entry.name, error=DEADLY)], 1, 1)
        return found

    def _stream(self, detector: Detector, found: Iterable[Entry], batch: int, threads: int) -> list[Prediction]:
        job = self._setup.job
        return list(
            detector.stream(
                found,
                job.conf,
                batch=batch,
                max_det=job.max_det,
                classes=job.classes,
                keep_image=False,
                workers=threads,
            )
        )

    @cached_property
    def _manifest(self) -> Manifest:
        return Manifest(self._output)

    @cached_property
    def _detector(self) -> Detector:
        """The detector, opened when the first shard comes. Raises `ModelError` where this machine cannot run it."""
        if multibox.__version__ != self._setup.job.version:
            here, wanted = multibox.__version__, self._setup.job.version
            raise ModelError(f"a worker has multibox {here}, this command {wanted}; install the same on all machines")
        return open_detector(self._setup)


def open_detector(setup: Setup) -> Detector:
    """The detector of a setup; OpenCV takes no more threads than the worker has."""
    import cv2

    from multibox.prediction.detector import load

    cv2.setNumThreads(setup.threads)
    engine = cast("EngineName", setup.job.engine)
    precision = cast("Precision | None", setup.job.precision)
    with tempfile.TemporaryDirectory(prefix="multibox-") as folder:
        for name, data in setup.files.items():
            (Path(folder) / name).write_bytes(data)
        model = Path(folder) / next(iter(setup.files)) if setup.files else "default"
        return load(model, engine, threads=setup.threads, precision=precision)


def entries(pictures: Sequence[Picture]) -> Iterator[Entry]:
    """What the detector reads: local files by their path, others by their bytes, fetched ahead."""
    table = pictures[0].table if pictures else None
    if table is not None:
        return _of_table(table, pictures)
    if any("://" in str(picture.path) for picture in pictures):
        return ahead(enumerate(pictures), _fetched, waiting=2 * _FETCHERS, workers=_FETCHERS)
    return (_entry(number, picture) for number, picture in enumerate(pictures))


def _entry(number: int, picture: Picture) -> Entry:
    if not picture.path:
        return Entry(name=str(number), error=f"{picture.id}: no path in this row")
    path = Path(picture.path)
    return Entry(name=str(number), path=path, pixels=path)


def _fetched(numbered: tuple[int, Picture]) -> Entry:
    number, picture = numbered
    if not picture.path or "://" not in picture.path:
        return _entry(number, picture)
    try:
        return Entry(name=str(number), pixels=read(picture.path))
    except DataError as error:
        return Entry(name=str(number), error=str(error))


def _of_table(table: str, pictures: Sequence[Picture]) -> Iterator[Entry]:
    """The rows of a table that holds the bytes. Raises `DataError` where it is no longer the one that was listed."""
    groups = sorted({picture.group for picture in pictures})
    try:
        for number, (picture, data) in enumerate(zip(pictures, read_images(table, groups), strict=True)):
            error = f"{picture.id}: no picture in this row" if data is None else None
            yield Entry(name=str(number), pixels=data, error=error)
    except ValueError:
        raise DataError(f"{table}: was changed since its rows were listed; take another --output") from None
