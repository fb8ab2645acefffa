"""The conductor: a source's pixels through an engine to detections in pixels of the photo, with class names."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multibox.errors import UsageError, did_you_mean
from multibox.prediction.ahead import ahead
from multibox.prediction.live import Live
from multibox.prediction.reading import LiveEntry, Loaded, Reading, load_files, load_live
from multibox.prediction.seeing import see
from multibox.prediction.sources import Entry, Pixels, Source
from multibox.prediction.tiles import Tiles, View, join
from multibox.results.prediction import NOTHING, Objects, Prediction
from multibox.spec import ModelSpec

if TYPE_CHECKING:
    import supervision as sv

    from multibox.prediction.engines import EngineName
    from multibox.prediction.engines.base import Engine, RawDetections
    from multibox.prediction.engines.description import Precision

_Names = npt.NDArray[np.str_]
_Labels = npt.NDArray[np.int64]

__all__ = ["Detector", "Prediction", "load"]


def load(
    model: str | Path = "default",
    engine: EngineName = "auto",
    *,
    threads: int | None = None,
    precision: Precision | None = None,
    calls: int = 1,
) -> Detector:
    """A detector from a model: a checkpoint, an exported .onnx, a sheet's name whose published weights are then fetched
    into the cache (`weights.fetch`), or `default`, the one inside the package.

    `engine` runs it (`auto` takes what fits the file); `threads` limits its CPU threads. `precision` is that of the
    network's arithmetic: of an exported file its own where none is given, of weights fp32. With more than one of
    `calls` the threads work on as many pictures at a time: `stream` is faster then, a single picture slower. Raises
    `ModelError` for a file that cannot be used so, naming the way out.
    """
    from multibox import zoo
    from multibox.prediction.engines import open_engine

    path = zoo.builtin_detector() if str(model) == "default" else model
    return Detector(open_engine(path, engine, threads=threads, precision=precision, calls=calls))


class Detector:
    """One model on one engine. `predict` is for one picture, `stream` for many, for folders, videos and cameras."""

    def __init__(self, engine: Engine) -> None:
        """Takes an engine; `multibox.load` makes both from a file."""
        self.engine = engine
        self._names = np.array(engine.spec.labels.names, dtype=np.str_)

    @property
    def spec(self) -> ModelSpec:
        """The model's sheet."""
        return self.engine.spec

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, in the order of `class_id`."""
        return self.engine.spec.labels.names

    def predict(
        self,
        source: Pixels,
        conf: float | None = 0.25,
        *,
        max_det: int | None = None,
        classes: Sequence[str | int] | None = None,
        tiles: Tiles | None = None,
    ) -> sv.Detections:
        """The objects in one picture: a path, encoded bytes, an RGB array [H, W, 3] or a Pillow image.

        Returns `supervision.Detections`, highest score first: `xyxy` in pixels of the upright photo, `confidence`,
        `class_id` (0-based index into `names`) and `data["class_name"]`. `conf` is the least score; the model's own
        threshold (`spec.postprocess.score_threshold`) applies before it, so a smaller `conf`, or none, means that one.
        `max_det` keeps the best, `classes` only these names (or indexes). With `tiles` a large picture is looked at
        part by part. Raises `DataError` for a picture that cannot be read and `UsageError` for an unknown class or a
        threshold outside 0..1.

        A JPEG file that is much larger than the network's input is decoded at a part of its size, which is faster.
        """
        keep = self._choice(conf, max_det, classes)
        views = see(source, self.spec.input, tiles).views
        return keep.of(self._look(views, 1), views).as_detections()

    def stream(
        self,
        sources: Source | Entry | Iterable[Source | Entry],
        conf: float | None = 0.25,
        *,
        batch: int = 1,
        max_det: int | None = None,
        classes: Sequence[str | int] | None = None,
        vid_stride: int = 1,
        keep_image: bool = True,
        workers: int | None = None,
        tiles: Tiles | None = None,
        live: Live | None = None,
    ) -> Generator[Prediction]:
        """The predictions of any sources, in order, one at a time: memory does not grow with their number.

        The next pictures are read while the network runs (`workers` threads). A source that cannot be read comes as a
        `Prediction` with `error` and without detections; the others follow. `vid_stride` takes every n-th frame of a
        video; without `keep_image` the photo's pixels are dropped. `batch` is the number of pictures, or of tiles, per
        run of the network. The other options are those of `predict`.

        Cameras and addresses of streams come after all files, those of several sources in turn, and always the newest
        frame: older ones are dropped and counted. `live` says how long to wait and how often to connect again.
        """
        if batch < 1 or vid_stride < 1:
            raise UsageError(f"batch and vid_stride are 1 or more, not {batch} and {vid_stride}")
        keep = self._choice(conf, max_det, classes)
        reading = Reading(
            input=self.spec.input,
            batch=batch,
            stride=vid_stride,
            workers=workers or min(4, os.cpu_count() or 1),
            keep_image=keep_image,
            tiles=tiles,
            live=live or Live(),
        )
        return self._run(sources, reading, keep)

    def _run(
        self, sources: Source | Entry | Iterable[Source | Entry], reading: Reading, keep: _Choice
    ) -> Generator[Prediction]:
        """Files by as many calls of the engine as it was opened for, then live sources one after the other."""
        work = partial(self._found, reading.batch, keep)
        live: list[LiveEntry] = []
        with closing(load_files(sources, reading, live)) as batches:
            if self.engine.calls == 1:
                for items in batches:
                    yield from work(items)
            else:
                calls = self.engine.calls
                with closing(ahead(batches, work, waiting=2 * calls, workers=calls)) as found:
                    for predictions in found:
                        yield from predictions
        with closing(load_live(live, reading)) as batches:
            for items in batches:
                yield from work(items)

    def _found(self, batch: int, keep: _Choice, items: Sequence[Loaded]) -> list[Prediction]:
        """One batch through the engine; broken items keep their place in the order."""
        start = time.perf_counter()
        raw = iter(self._look([view for item in items for view in item.views], batch))
        share = (time.perf_counter() - start) / max(1, sum(len(item.views) for item in items))
        return [
            item.predicted(
                keep.of(list(islice(raw, len(item.views))), item.views) if item.views else NOTHING,
                share * len(item.views),
            )
            for item in items
        ]

    def _look(self, views: Sequence[View], batch: int) -> list[RawDetections]:
        """What the engine finds in each view, `batch` of them at once."""
        found: list[RawDetections] = []
        for start in range(0, len(views), batch):
            pixels = [view.prepared.pixels for view in views[start : start + batch]]
            found += self.engine.run(np.stack(pixels) if len(pixels) > 1 else pixels[0][None])
        return found

    def _choice(self, conf: float | None, max_det: int | None, classes: Sequence[str | int] | None) -> _Choice:
        """The checked options."""
        if conf is not None and not 0.0 <= conf <= 1.0:
            raise UsageError(f"conf is between 0 and 1, not {conf}")
        if max_det is not None and max_det < 1:
            raise UsageError(f"max_det is 1 or more, not {max_det}")
        labels = None if classes is None else np.array([self._label(name) for name in classes], dtype=np.int64)
        return _Choice(self._names, conf or 0.0, max_det, labels, self.spec.postprocess.iou)

    def _label(self, name: str | int) -> int:
        """The index of a class by its name, or by the index itself."""
        names = self.names
        if name in names:
            return names.index(str(name))
        if str(name).isdecimal() and int(name) < len(names):
            return int(name)
        raise UsageError(f"the model knows no class '{name}'{did_you_mean(str(name), names)}")


class _Choice:
    """Which of the engine's detections the user wants, and in which form."""

    def __init__(self, names: _Names, conf: float, max_det: int | None, labels: _Labels | None, iou: float) -> None:
        self._names, self._conf, self._max_det, self._labels, self._iou = names, conf, max_det, labels, iou

    def of(self, found: Sequence[RawDetections], views: Sequence[View]) -> Objects:
        """The chosen objects of a photo's views, in its pixels, highest score first (ties: the engine's order)."""
        boxes, scores, labels = join(views, [self._chosen(raw) for raw in found], self._iou)
        best = np.argsort(-scores, kind="stable")[: self._max_det]
        return Objects(boxes[best], scores[best], labels[best], self._names[labels[best]])

    def _chosen(self, raw: RawDetections) -> RawDetections:
        """Those of the classes that are asked for, with the score that is asked for."""
        keep = raw.scores >= self._conf
        if self._labels is not None:
            keep &= np.isin(raw.labels, self._labels)
        return type(raw)(raw.boxes[keep], raw.scores[keep], raw.labels[keep])
