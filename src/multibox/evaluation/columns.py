"""All truths and all detections of a dataset as columns, the form in which every metric is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from multibox.data.dataset import Record

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Kind = TypeVar("Kind", np.float64, np.int64, np.bool_)
Part = tuple[NDArray[np.float32], NDArray[np.float32], Ints]
"""The (boxes [k, 4], scores [k], labels [k]) of one image."""


@dataclass(frozen=True, kw_only=True)
class Truths:
    """Every object of n: the index of its image, its label, its box x1, y1, x2, y2 in pixels and its area in pixels².

    `crowd` marks COCO's boxes around many objects, `difficult` those that VOC passes over.
    """

    images: Ints
    labels: Ints
    boxes: Floats
    areas: Floats
    crowd: Flags
    difficult: Flags


@dataclass(frozen=True, kw_only=True)
class Found:
    """Every detection of n: the index of its image, its label (the dataset's), its box in pixels and its score."""

    images: Ints
    labels: Ints
    boxes: Floats
    scores: Floats


def truths_of(records: Sequence[Record]) -> Truths:
    """The columns of all records; images are numbered by their place in `records`."""
    counts = [len(record.labels) for record in records]
    return Truths(
        images=np.repeat(np.arange(len(records), dtype=np.int64), counts),
        labels=_join([record.labels for record in records], np.int64),
        boxes=_join([record.boxes for record in records], np.float64, (4,)),
        areas=_join([record.area for record in records], np.float64),
        crowd=_join([record.crowd for record in records], np.bool_),
        difficult=_join([record.difficult for record in records], np.bool_),
    )


def found_of(parts: Sequence[Part]) -> Found:
    """The columns of all images, in their order."""
    counts = [len(labels) for _, _, labels in parts]
    return Found(
        images=np.repeat(np.arange(len(parts), dtype=np.int64), counts),
        labels=_join([labels for _, _, labels in parts], np.int64),
        boxes=_join([boxes for boxes, _, _ in parts], np.float64, (4,)),
        scores=_join([scores for _, scores, _ in parts], np.float64),
    )


def _join(parts: Sequence[NDArray[Any]], dtype: type[Kind], shape: tuple[int, ...] = ()) -> NDArray[Kind]:
    """One array of all parts; an empty one of rows of `shape` where there is none."""
    return np.concatenate([np.zeros((0, *shape), dtype), *parts], dtype=dtype, casting="unsafe")
