"""`predict_many`: lists or goes on, hands the shards to Ray, and counts at the end that every picture is there once."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import multibox
from multibox import errors
from multibox.errors import DataError, MultiboxError, UsageError
from multibox.prediction.detector import load
from multibox.scale.attempts import PREFIX
from multibox.scale.cluster import Workers, joined, run_shards
from multibox.scale.files import Place, locate, names_in, remove, short
from multibox.scale.job import Job, check_same, done_shards, part_name, read_job, write_job
from multibox.scale.listing import cut, list_pictures
from multibox.scale.manifest import Manifest, write_manifest
from multibox.scale.worker import Outcome, Setup

if TYPE_CHECKING:
    from multibox.prediction.engines import EngineName
    from multibox.prediction.engines.description import Precision

_log = logging.getLogger(__name__)
_READERS = 8
"""Files of results that are checked at once."""
Watch = Callable[[int, int], None]
"""Told now and then: pictures that were just done, and how many this run has in all."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked of the detector (`load`, `Detector.predict`), pictures per run of the network, and per shard."""

    precision: Precision | None = None
    conf: float | None = 0.25
    max_det: int | None = None
    classes: tuple[str, ...] | None = None
    batch: int = 1
    shard_size: int = 1000


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A complete output folder: its pictures, those with an error, and its files.

    Of this run alone: the pictures, seconds on the clock, and seconds of CPU of all workers.
    """

    output: str
    pictures: int
    errors: int
    shards: int
    pictures_now: int
    seconds: float
    cpu_seconds: float


def predict_many(
    sources: Sequence[str],
    output: str,
    *,
    model: str | Path = "default",
    engine: EngineName = "auto",
    options: Options = Options(),
    workers: Workers = Workers(),  # noqa: B008
    watch: Watch | None = None,
) -> Summary:
    """Detections of all pictures of folders and Parquet tables, as Parquet files `part-NNNNNN.parquet` in `output`.

    Sources and output are paths, or addresses of stores (s3://, gs://); with a cluster, all machines must reach them.
    Called again after whatever ended it, it goes on with the shards that are missing. Raises `UsageError` for an
    output folder of another run, `DataError` for sources without pictures, `ModelError` for a model that cannot be
    used, and `MultiboxError` where the results are not complete.
    """
    start = time.monotonic()
    setup = _setup(sources, output, model, engine, options, workers.threads)
    place = locate(setup.output)
    _begin(place, setup.job)
    manifest = Manifest(place)
    pending = sorted(set(range(manifest.shards)) - done_shards(place))
    outcomes: list[Outcome] = []
    if pending:
        left = sum(map(manifest.size, pending))
        if len(pending) < manifest.shards:
            _log.info("%s: %d of %d pictures are left", output, left, manifest.pictures)
        with joined(workers):
            outcomes = list(_watched(run_shards(pending, setup, workers), left, watch))
    bad = _check(place, manifest)
    _tidy(place)
    return Summary(
        output=output,
        pictures=manifest.pictures,
        errors=bad,
        shards=manifest.shards,
        pictures_now=sum(outcome.pictures for outcome in outcomes),
        seconds=time.monotonic() - start,
        cpu_seconds=sum(outcome.cpu_seconds for outcome in outcomes),
    )


def _setup(
    sources: Sequence[str], output: str, model: str | Path, engine: EngineName, options: Options, threads: int
) -> Setup:
    """What the workers are told, once model and options are known to be good."""
    if options.batch < 1 or options.shard_size < 1:
        raise UsageError(f"batch and shard size are 1 or more, not {options.batch} and {options.shard_size}")
    detector = load(model, engine, threads=threads, precision=options.precision)
    detector.stream([], options.conf, max_det=options.max_det, classes=options.classes)  # only checks the options
    files = {} if str(model) == "default" else _model_files(Path(model))
    digest = hashlib.sha256()
    for data in files.values() if files else [_builtin()]:
        digest.update(data)
    job = Job(
        sources=tuple(map(_absolute, sources)),
        model=digest.hexdigest(),
        engine=detector.engine.name,
        precision=options.precision,
        conf=options.conf,
        max_det=options.max_det,
        classes=options.classes,
        shard_size=options.shard_size,
        names=detector.names,
        version=multibox.__version__,
    )
    return Setup(output=_absolute(output), job=job, files=files, batch=options.batch, threads=threads)


def _absolute(text: str) -> str:
    """An address as it is, a path from the root, as workers run elsewhere."""
    return text.rstrip("/") if "://" in text else str(Path(text).expanduser().absolute())


def _builtin() -> bytes:
    from multibox.zoo import builtin_detector

    return builtin_detector().read_bytes()


def _model_files(model: Path) -> dict[str, bytes]:
    """The file of a model, and what belongs to it, to be sent to the workers."""
    if not model.is_file():
        raise UsageError(f"{model}: is not one file; write one with 'multibox export {model}', which is faster too")
    weights = [model.with_suffix(".bin")] if model.suffix.lower() == ".xml" else []
    return {file.name: file.read_bytes() for file in (model, *weights)}


def _begin(output: Place, job: Job) -> None:
    """The folder holds this job and its manifest afterwards; nothing is written where there are no pictures."""
    begun = read_job(output)
    if begun is not None:
        check_same(output, begun, job)
        if begun.version != job.version:
            _log.warning("%s: was begun by multibox %s, this is %s", output.path, begun.version, job.version)
        return
    with tempfile.TemporaryDirectory(prefix="multibox-") as folder:
        shards = cut(list_pictures(job.sources, Path(folder)), job.shard_size)
        pictures, count = write_manifest(output, shards, Path(folder), _report)
    if not pictures:
        raise DataError(f"{', '.join(job.sources) or 'no source'}: no pictures and no Parquet tables of pictures there")
    write_job(output, job)
    _log.info("%d pictures in %d shards", pictures, count)


def _report(pictures: int) -> None:
    _log.info("%d pictures listed", pictures, extra={"live": True})


def _watched(outcomes: Iterable[Outcome], pictures: int, watch: Watch | None) -> Iterable[Outcome]:
    """The outcomes, each reported; the first one that failed is raised."""
    if watch is not None:
        watch(0, pictures)
    for outcome in outcomes:
        if outcome.problem:
            _fail(outcome)
        if watch is not None:
            watch(outcome.pictures, pictures)
        yield outcome


def _fail(outcome: Outcome) -> NoReturn:
    """Raises what a worker could not."""
    kind = getattr(errors, outcome.kind)
    raise kind(outcome.problem)


def _check(output: Place, manifest: Manifest) -> int:
    """How many pictures have an error. Raises `MultiboxError` unless each one has exactly one row, in its place."""
    missing = sorted(set(range(manifest.shards)) - done_shards(output))
    if missing:
        raise MultiboxError(
            f"{output.path}: {len(missing)} of {manifest.shards} shards are not there, as their workers died (first: "
            f"{part_name(missing[0])}); run the same command again, and it goes on with them"
        )
    with ThreadPoolExecutor(_READERS) as pool:
        return sum(pool.map(lambda shard: _check_part(output, manifest, shard), range(manifest.shards)))


def _check_part(output: Place, manifest: Manifest, shard: int) -> int:
    place = output.beside(part_name(shard))
    try:
        table = pq.read_table(place.path, filesystem=place.fs, columns=["id", "error"])
    except (OSError, pa.ArrowException) as error:
        raise MultiboxError(f"{place.path}: is damaged ({short(error)}); delete it and run again") from None
    if not table.column("id").combine_chunks().equals(manifest.ids(shard).combine_chunks()):
        raise MultiboxError(f"{place.path}: holds other pictures than its shard; delete it and run again")
    return int(pc.sum(pc.is_valid(table.column("error"))).as_py() or 0)


def _tidy(output: Place) -> None:
    """Removes what workers that died have left behind."""
    for name in names_in(output):
        if name.startswith(PREFIX) or name.endswith(".part"):
            remove(output.beside(name))
