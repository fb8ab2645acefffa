"""The conductor: a source's pixels through an engine to detections in pixels of the photo, with class names."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from multibox.errors import UsageError, did_you_mean
from multibox.images.prepare import Prepared, prepare
from multibox.images.read import read_image
from multibox.prediction.reading import Loaded, load_items
from multibox.prediction.sources import Entry, Pixels, Source
from multibox.results.prediction import NOTHING, Objects, Prediction
from multibox.spec import ModelSpec

if TYPE_CHECKING:
    import supervision as sv

    from multibox.prediction.engines.base import Engine, RawDetections

_Names = npt.NDArray[np.str_]
_Labels = npt.NDArray[np.int64]

__all__ = ["Detector", "Prediction", "load"]


def load(
    model: str | Path = "default",
    engine: Literal["auto", "torch", "openvino", "onnxruntime"] = "auto",
    *,
    threads: int | None = None,
) -> Detector:
    """A detector from a model: a checkpoint, an exported .onnx, a sheet's name whose published weights are then fetched
    into the cache (`weights.fetch`), or `default`, the one inside the package.

    `engine` runs it (`auto` takes what fits the file); `threads` limits its CPU threads. Raises `ModelError` for a file
    that cannot be used, naming the way out.
    """
    from multibox import zoo
    from multibox.prediction.engines import open_engine

    path = zoo.builtin_detector() if str(model) == "default" else model
    return Detector(open_engine(path, engine, threads=threads))


class Detector:
    """One model on one engine. `predict` is for one picture, `stream` for many, for folders and for videos."""

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
    ) -> sv.Detections:
        """The objects in one picture: a path, encoded bytes, an RGB array [H, W, 3] or a Pillow image.

        Returns `supervision.Detections`, highest score first: `xyxy` in pixels of the upright photo, `confidence`,
        `class_id` (0-based index into `names`) and `data["class_name"]`. `conf` is the least score; the model's own
        threshold (`spec.postprocess.score_threshold`) applies before it, so a smaller `conf`, or none, means that one.
        `max_det` keeps the best, `classes` only these names (or indexes). Raises `DataError` for a picture that cannot
        be read and `UsageError` for an unknown class or a threshold outside 0..1.
        """
        keep = self._choice(conf, max_det, classes)
        prepared = prepare(read_image(source), self.spec.input)
        return keep.of(self.engine.run(prepared.pixels[None])[0], prepared).as_detections()

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
    ) -> Iterator[Prediction]:
        """The predictions of any sources, in order, one at a time: memory does not grow with their number.

        The next pictures are read while the network runs (`workers` threads). A source that cannot be read comes as a
        `Prediction` with `error` and without detections; the others follow. `vid_stride` takes every n-th frame of a
        video; without `keep_image` the photo's pixels are dropped. The other options are those of `predict`.
        """
        if batch < 1 or vid_stride < 1:
            raise UsageError(f"batch and vid_stride are 1 or more, not {batch} and {vid_stride}")
        keep = self._choice(conf, max_det, classes)
        threads = workers or min(4, os.cpu_count() or 1)
        items = load_items(
            sources, self.spec.input, vid_stride, keep_image, waiting=2 * batch + threads, workers=threads
        )
        return self._run(items, batch, keep)

    def _run(self, items: Generator[Loaded], batch: int, keep: _Choice) -> Iterator[Prediction]:
        """Batches through the engine; broken items keep their place in the order."""
        with closing(items):
            while window := list(islice(items, batch)):
                inputs = [item.prepared.pixels for item in window if item.prepared is not None]
                start = time.perf_counter()
                raw = iter(self.engine.run(np.stack(inputs)) if inputs else ())
                share = (time.perf_counter() - start) / max(1, len(inputs))
                for item in window:
                    found = keep.of(next(raw), item.prepared) if item.prepared is not None else NOTHING
                    yield item.predicted(found, share)

    def _choice(self, conf: float | None, max_det: int | None, classes: Sequence[str | int] | None) -> _Choice:
        """The checked options."""
        if conf is not None and not 0.0 <= conf <= 1.0:
            raise UsageError(f"conf is between 0 and 1, not {conf}")
        if max_det is not None and max_det < 1:
            raise UsageError(f"max_det is 1 or more, not {max_det}")
        labels = None if classes is None else np.array([self._label(name) for name in classes], dtype=np.int64)
        return _Choice(self._names, conf or 0.0, max_det, labels)

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

    def __init__(self, names: _Names, conf: float, max_det: int | None, labels: _Labels | None) -> None:
        self._names, self._conf, self._max_det, self._labels = names, conf, max_det, labels

    def of(self, raw: RawDetections, prepared: Prepared) -> Objects:
        """The chosen objects in pixels of the photo, highest score first (ties: the engine's order)."""
        keep = raw.scores >= self._conf
        if self._labels is not None:
            keep &= np.isin(raw.labels, self._labels)
        chosen = np.flatnonzero(keep)
        chosen = chosen[np.argsort(-raw.scores[chosen], kind="stable")][: self._max_det]
        labels = raw.labels[chosen]
        return Objects(prepared.to_photo(raw.boxes[chosen]), raw.scores[chosen], labels, self._names[labels])
