"""The user's own images through the float network: which range each value takes, and its mean per channel."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from multibox.data.open import list_splits, open_dataset
from multibox.errors import DataError
from multibox.images.prepare import prepare
from multibox.images.read import Pixels, read_image
from multibox.prediction.sources import PICTURE_SUFFIXES
from multibox.spec import InputSpec

Progress = Callable[[int, int], None]
"""Called with (images done, images in all) after each image."""

IMAGES = 128
"""As many are looked at where nothing else is said."""

_MISSED = 5
"""As many unreadable images are named; more of them are counted."""

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Seen:
    """What one value of the graph was over all images: its extremes (0 is always within them), its mean per channel."""

    lowest: float = 0.0
    highest: float = 0.0
    images: int = 0
    total: NDArray[np.float64] | float = 0.0

    def add(self, value: NDArray[np.float32]) -> None:
        """Takes in the value [1, channels, ...] of one image."""
        self.lowest = min(self.lowest, float(value.min()))
        self.highest = max(self.highest, float(value.max()))
        self.total = self.total + value.mean(axis=(0, *range(2, value.ndim)), dtype=np.float64)
        self.images += 1

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of each channel."""
        return np.asarray(self.total / max(1, self.images))


def find_images(source: Path) -> list[Path]:
    """The pictures of a data set's training split, or all below a folder, or one file's own, in order.

    Raises `DataError` where there is none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"{source}: no such file or folder of images to calibrate with")
    if paths := _of_dataset(source):
        return paths
    inside = [path for path in sorted(source.rglob("*")) if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()]
    found = [path for path in inside if not any(part.startswith(".") for part in path.relative_to(source).parts)]
    if not found:
        raise DataError(f"{source}: no images to calibrate with in this folder")
    return found


def _of_dataset(folder: Path) -> list[Path]:
    """The images to learn from, where the folder is a data set: not those that it is measured by."""
    try:
        splits = list_splits(folder)
    except DataError:
        return []
    split = next((name for name in ("train", "trainval") if name in splits), None)
    return [record.path for record in open_dataset(folder, split).records] if split else []


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of the paths, evenly over all of them."""
    if len(paths) <= count:
        return list(paths)
    return [paths[(2 * number + 1) * len(paths) // (2 * count)] for number in range(count)]


def read_inputs(paths: Sequence[Path], input: InputSpec, progress: Progress | None = None) -> Iterator[Pixels]:
    """Each image as the network sees it, uint8 [1, h, w, 3]; what cannot be read is warned of and left out.

    `progress` is told when an image has been used. Raises `DataError` where none can be read.
    """
    problems: list[str] = []
    for number, path in enumerate(paths, 1):
        try:
            yield prepare(read_image(path), input).pixels[None]
        except DataError as error:
            problems.append(str(error))
            if len(problems) == len(paths):
                raise DataError(f"none of {len(paths)} images to calibrate with can be read ({error})") from None
        if progress is not None:
            progress(number, len(paths))
    for problem in problems[:_MISSED]:
        log.warning(f"{problem}; not calibrated with")
    if len(problems) > _MISSED:
        log.warning(f"{len(problems) - _MISSED} more images cannot be read; not calibrated with")


def observe(graph: onnx.ModelProto, values: Sequence[str], images: Iterable[Pixels]) -> dict[str, Seen]:
    """What the float32 `values` of the graph are on the images [1, h, w, 3], which are taken one by one."""
    session = _tapped(graph, values)
    source = session.get_inputs()[0]
    batch = source.shape[0] if isinstance(source.shape[0], int) else 1
    seen = {value: Seen() for value in values}
    for image in images:
        results = session.run(list(values), {source.name: np.repeat(image, batch, axis=0)})
        for value, result in zip(values, results, strict=True):
            seen[value].add(result[:1])
    return seen


def _tapped(graph: onnx.ModelProto, values: Sequence[str]) -> Any:
    """A session that gives out values from inside of the graph."""
    import onnxruntime

    copied = onnx.ModelProto()
    copied.CopyFrom(graph)
    known = {output.name for output in copied.graph.output}
    missing = [value for value in values if value not in known]
    copied.graph.output.extend(helper.make_tensor_value_info(value, TensorProto.FLOAT, None) for value in missing)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: its warnings are about its own optimiser
    return onnxruntime.InferenceSession(copied.SerializeToString(), options, providers=["CPUExecutionProvider"])
