"""What every dataset is once it has been read, whatever its layout: names, and one record per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
Labels = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a dataset: the file, the object in it (`object 3 (RBC)`, or empty), and a sentence.

    `fatal` problems make a file unusable (an image is missing, a class is unknown); of the others the reader has
    already taken care, as the sentence says.
    """

    file: Path
    object: str
    message: str
    fatal: bool

    def __str__(self) -> str:
        """The sentence with its place in front."""
        where = f"{self.file}, {self.object}" if self.object else str(self.file)
        return f"{where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Record:
    """One image and its truth.

    `boxes` are x1, y1, x2, y2 in pixels of the upright photo, inside it, with an area; `labels` are 0-based indexes
    into the dataset's names; `crowd` marks boxes around many objects, `difficult` those that VOC's metric passes over.
    `areas` are what COCO's small, medium and large go by (the segmentation's where given, else the box's).
    """

    image_id: int
    path: Path
    width: int
    height: int
    boxes: Boxes
    labels: Labels
    crowd: Flags
    difficult: Flags
    areas: NDArray[np.float32] | None = None

    @property
    def area(self) -> NDArray[np.float32]:
        """The area of each object in square pixels [n], as the truth states it or else of its box."""
        if self.areas is not None:
            return self.areas
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return np.asarray(sides[:, 0] * sides[:, 1], np.float32)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The records of one split, the class names (the meaning of every label) and each name's id in the source.

    `names` and their order are the same for all splits of a dataset. `problems` are what reading met.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...]
    records: tuple[Record, ...]
    root: Path
    layout: Literal["voc", "coco"]
    split: str
    problems: tuple[Problem, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.records)


@dataclass(frozen=True, slots=True)
class Truth:
    """One object as its file states it, not yet judged; x1, y1, x2, y2 in pixels, NaN where not a number."""

    index: int
    name: str
    box: tuple[float, float, float, float]
    stated: str
    crowd: bool = False
    difficult: bool = False
    area: float | None = None


def make_record(
    image_id: int, path: Path, size: tuple[int, int], truths: Sequence[Truth], labels: dict[str, int], source: Path
) -> tuple[Record, list[Problem]]:
    """The record of the objects that can be used, boxes clipped to the image, and a problem for each that cannot be.

    `size` is (width, height), `source` the annotation file that the problems name. A name not in `labels` is fatal.
    """
    problems: list[Problem] = []
    kept: list[tuple[Truth, tuple[float, float, float, float]]] = []
    for truth in truths:
        box = _clip(truth.box, size)
        message, fatal = _judge(truth, box, size, labels)
        if message:
            problems.append(Problem(source, f"object {truth.index} ({truth.name})", message, fatal))
        if truth.name in labels and _has_area(truth.box) and _has_area(box):
            kept.append((truth, box))
    boxes = np.array([box for _, box in kept], np.float32).reshape(-1, 4)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) if truth.area is None else truth.area for truth, box in kept]
    record = Record(
        image_id=image_id,
        path=path,
        width=size[0],
        height=size[1],
        boxes=boxes,
        labels=np.array([labels[truth.name] for truth, _ in kept], np.int64),
        crowd=np.array([truth.crowd for truth, _ in kept], np.bool_),
        difficult=np.array([truth.difficult for truth, _ in kept], np.bool_),
        areas=np.array(areas, np.float32),
    )
    return record, problems


def _judge(
    truth: Truth, clipped: tuple[float, float, float, float], size: tuple[int, int], labels: dict[str, int]
) -> tuple[str, bool]:
    """(what is wrong with an object and what was done about it, whether that is fatal); an empty text for nothing."""
    width, height = size
    if truth.name not in labels:
        return f"unknown class '{truth.name}'; known are {_some(labels)}", True
    if not np.isfinite(truth.box).all():
        return f"the box {truth.stated} is not four numbers; the object is left out", False
    if not _has_area(truth.box):
        return f"the box {truth.stated} has no area (xmax <= xmin or ymax <= ymin); the object is left out", False
    if not _has_area(clipped):
        return f"the box {truth.stated} lies outside the image of {width} x {height}; the object is left out", False
    if max(abs(a - b) for a, b in zip(truth.box, clipped, strict=True)) > 1.0:  # one pixel: 1-based or rounded borders
        return f"the box {truth.stated} reaches out of the image of {width} x {height}; it is cut at the border", False
    return "", False


def _some(names: dict[str, int]) -> str:
    """The first names, enough to recognise the list."""
    shown = ", ".join(list(names)[:8])
    return f"{shown}, ... ({len(names)})" if len(names) > 8 else shown or "none"


def _has_area(box: tuple[float, float, float, float]) -> bool:
    """Whether the box is finite and wider and higher than nothing."""
    return bool(np.isfinite(box).all()) and box[2] > box[0] and box[3] > box[1]


def _clip(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The part of the box inside the image."""
    width, height = size
    x1, y1, x2, y2 = box
    return min(max(x1, 0.0), width), min(max(y1, 0.0), height), min(max(x2, 0.0), width), min(max(y2, 0.0), height)
