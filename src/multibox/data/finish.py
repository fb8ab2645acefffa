"""The last changes to a sample's pixels, colours and mirror: a few numbers, drawn with it, that may be applied later.

A worker applies them here in uint8; a device applies those of a whole batch at once (`training.feed.pixels`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from multibox.data.render import Area
from multibox.images.read import Pixels


@dataclass(frozen=True, slots=True)
class Finish:
    """`matrix` [3, 4] changes the colours inside `area` (the canvas around it stays), then all may be mirrored."""

    matrix: NDArray[np.float64] | None
    area: Area
    mirror: bool


@dataclass(frozen=True, slots=True)
class Finishes:
    """Those of a batch: matrices [n, 3, 4] float32, areas x1, y1, x2, y2 [n, 4] in pixels, mirrors [n]."""

    matrices: NDArray[np.float32]
    areas: NDArray[np.int64]
    mirrors: NDArray[np.bool_]


def finish(image: Pixels, todo: Finish) -> Pixels:
    """The image (uint8 [h, w, 3] RGB) with that done; the given pixels may be changed."""
    if todo.matrix is not None:
        x1, y1, x2, y2 = todo.area
        if (y2 - y1, x2 - x1) == image.shape[:2]:
            image = cv2.transform(image, todo.matrix)
        else:
            image[y1:y2, x1:x2] = cv2.transform(image[y1:y2, x1:x2], todo.matrix)
    mirrored: Pixels = cv2.flip(image, 1) if todo.mirror else image
    return mirrored


def stack(todo: list[Finish]) -> Finishes:
    """One batch of them; unchanged colours are a matrix too."""
    matrices = np.zeros((len(todo), 3, 4), np.float32)
    for row, each in enumerate(todo):
        matrices[row] = np.eye(3, 4) if each.matrix is None else each.matrix
    areas = np.array([each.area for each in todo], np.int64).reshape(-1, 4)
    return Finishes(matrices, areas, np.array([each.mirror for each in todo], np.bool_))
