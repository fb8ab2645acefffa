"""The user's own images through the float network: which ranges its values take, and their mean per channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from multibox.errors import DataError
from multibox.images.prepare import prepare
from multibox.images.read import read_image
from multibox.prediction.sources import PICTURE_SUFFIXES
from multibox.spec import InputSpec

Progress = Callable[[int, int], None]
"""Called with (images done, images in all) after each image."""

IMAGES = 128
"""As many are looked at where nothing else is said."""

_KEPT = 2048
"""Values of one tensor of one image that are kept to choose a range by."""


@dataclass(kw_only=True)
class Seen:
    """What one value of the graph was over all images: its extremes, some of its numbers, its mean per channel."""

    lowest: float = 0.0
    highest: float = 0.0
    sample: list[NDArray[np.float32]] = field(default_factory=list)
    means: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, value: NDArray[np.float32]) -> None:
        """Takes in the value [1, channels, ...] of one image."""
        flat = value.reshape(-1)
        self.lowest = min(self.lowest, float(flat.min()))
        self.highest = max(self.highest, float(flat.max()))
        step = max(1, flat.size // _KEPT) | 1  # odd: not the same columns of every row
        self.sample.append(flat[::step].copy())
        self.means.append(value.mean(axis=(0, *range(2, value.ndim)), dtype=np.float64))

    @property
    def numbers(self) -> NDArray[np.float32]:
        """The numbers that were kept, of all images."""
        return np.concatenate(self.sample)

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of each channel."""
        return np.mean(self.means, axis=0)


def find_images(source: Path) -> list[Path]:
    """The pictures below a folder, or one file's own, in order. Raises `DataError` where there is none."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"{source}: no such file or folder of images to calibrate with")
    inside = [path for path in sorted(source.rglob("*")) if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()]
    found = [path for path in inside if not any(part.startswith(".") for part in path.relative_to(source).parts)]
    if not found:
        raise DataError(f"{source}: no images to calibrate with in this folder")
    return found


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of the paths, evenly over all of them."""
    if len(paths) <= count:
        return list(paths)
    return [paths[(2 * number + 1) * len(paths) // (2 * count)] for number in range(count)]


def read_inputs(paths: Iterable[Path], input: InputSpec) -> Iterator[NDArray[np.uint8]]:
    """Each image as the network sees it, uint8 [1, h, w, 3]. Raises `DataError` for one that cannot be read."""
    for path in paths:
        yield prepare(read_image(path), input).pixels[None]


def observe(
    graph: onnx.ModelProto,
    values: Sequence[str],
    images: Iterable[NDArray[np.uint8]],
    total: int,
    progress: Progress | None = None,
) -> dict[str, Seen]:
    """What the float32 `values` of the graph are on the images, which are taken one by one."""
    session = _tapped(graph, values)
    seen = {value: Seen() for value in values}
    for number, image in enumerate(images, 1):
        for value, result in zip(values, session.run(list(values), {"images": image}), strict=True):
            seen[value].add(result)
        if progress is not None:
            progress(number, total)
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
