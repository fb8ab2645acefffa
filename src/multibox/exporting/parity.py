"""How far two runtimes of one model are from each other: scores, boxes, and detections without a partner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multibox.prediction.engines.base import Engine, RawDetections

SCORE_BOUND = 1e-4
BOX_BOUND = 0.05
"""Pixels of the network's input."""
_DIFFERENT = 0.01
"""Share of detections that may differ: near a threshold the last bit of a score or of an overlap decides."""
_SAME_PLACE, _SAME_SCORE = 1.0, 0.01
"""Pixels and score within which two detections of one label are taken for the same one."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Largest differences between two runtimes over `images`: scores, boxes in pixels of the network's input.

    `detections` were found by the first; `different` of either have no partner (same label, same place) in the other.
    """

    engines: str
    images: int
    detections: int
    different: int
    scores: float
    boxes: float
    score_bound: float = SCORE_BOUND
    box_bound: float = BOX_BOUND
    basis: str = ""
    """Where the bounds are from, if they are not the usual ones."""

    @property
    def agrees(self) -> bool:
        """Whether all differences are within their bounds."""
        few = self.different <= max(1.0, _DIFFERENT * self.detections)
        return few and self.scores <= self.score_bound and self.boxes <= self.box_bound

    def __str__(self) -> str:
        """One line for a person."""
        return (
            f"{self.engines} on {self.images} images: scores within {self.scores:.1e} (bound {self.score_bound:.0e}), "
            f"boxes within {self.boxes:.1e} px (bound {self.box_bound:.2g}), "
            f"{self.different} of {self.detections} detections differ{f'; {self.basis}' if self.basis else ''}"
        )


def compare(first: Engine, second: Engine, images: NDArray[np.uint8]) -> Parity:
    """How far the detections of two engines differ on uint8 images [n, h, w, 3] at network size."""
    size = (first.spec.input.height, first.spec.input.width)
    found = [compare_image(first.run(image[None])[0], second.run(image[None])[0], size) for image in images]
    return worst(f"{first.name} and {second.name}", found)


def compare_image(first: RawDetections, second: RawDetections, size: tuple[int, int]) -> Parity:
    """As `compare` for one image whose network input is `size` (height, width)."""
    pixels = np.array([size[1], size[0]] * 2, np.float32)
    place = np.abs((first.boxes[:, None] - second.boxes[None]) * pixels).max(axis=2, initial=0.0)
    score = np.abs(first.scores[:, None] - second.scores[None])
    possible = (first.labels[:, None] == second.labels[None]) & (place <= _SAME_PLACE) & (score <= _SAME_SCORE)
    distance = np.where(possible, place / _SAME_PLACE + score / _SAME_SCORE, np.inf)
    pairs = []
    for i in range(len(first.scores)):  # a detection has one partner; the best goes first
        j = int(distance[i].argmin()) if len(second.scores) else -1
        if j >= 0 and np.isfinite(distance[i, j]):
            pairs.append((i, j))
            distance[:, j] = np.inf
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    return Parity(
        engines="",
        images=1,
        detections=len(first.scores),
        different=max(len(first.scores), len(second.scores)) - len(pairs),
        scores=float(score[rows, columns].max(initial=0.0)),
        boxes=float(place[rows, columns].max(initial=0.0)),
    )


def worst(engines: str, parts: Iterable[Parity]) -> Parity:
    """Many comparisons as one: counts added up, the largest difference of all (NaN where one is)."""
    parts = list(parts)
    return Parity(
        engines=engines,
        images=sum(part.images for part in parts),
        detections=sum(part.detections for part in parts),
        different=sum(part.different for part in parts),
        scores=float(np.max([part.scores for part in parts], initial=0.0)),
        boxes=float(np.max([part.boxes for part in parts], initial=0.0)),
    )
