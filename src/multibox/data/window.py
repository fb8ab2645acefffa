"""Which part of a photo is seen: zoom-out and IoU crop as windows in pixels of the photo, drawn on boxes alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MIN_SIDE = 1.0
"""Objects of which less than this many pixels of the photo is left in width or height are dropped."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle x1, y1, x2, y2 in whole pixels of the photo, which it may exceed on any side."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def width(self) -> int:
        """Pixels of the photo."""
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        """Pixels of the photo."""
        return self.y2 - self.y1

    def intersection(self, size: tuple[int, int]) -> Window:
        """The part inside a photo of (width, height); at least one pixel, at the border, where there is none."""
        x1 = min(max(self.x1, 0), size[0] - 1)
        y1 = min(max(self.y1, 0), size[1] - 1)
        return Window(x1, y1, max(x1 + 1, min(self.x2, size[0])), max(y1 + 1, min(self.y2, size[1])))

    def clip(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """The parts of boxes [n, 4] inside the window."""
        low = np.array([self.x1, self.y1] * 2, np.float32)
        high = np.array([self.x2, self.y2] * 2, np.float32)
        return np.clip(boxes, low, high)

    def holds_centers(self, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which boxes [n, 4] have their centre strictly inside."""
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        low, high = np.array([self.x1, self.y1]), np.array([self.x2, self.y2])
        return np.asarray(((centers > low) & (centers < high)).all(axis=1))


def visible(
    boxes: NDArray[np.float32], window: Window, *, by_center: bool
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The parts of boxes [n, 4] in the window, and of which enough is left; `by_center`: whose centre is inside."""
    cut = window.clip(boxes)
    kept = window.holds_centers(boxes) if by_center else np.ones(len(boxes), np.bool_)
    return cut, kept & ((cut[:, 2:] - cut[:, :2]) >= _MIN_SIDE).all(axis=1)


def zoom_window(photo: Window, largest: float, rng: np.random.Generator) -> Window:
    """A canvas of 1 to `largest` times the photo's sides, the photo anywhere on it."""
    ratio = rng.uniform(1.0, largest)
    width, height = int(photo.width * ratio), int(photo.height * ratio)
    left = int((width - photo.width) * rng.random())
    top = int((height - photo.height) * rng.random())
    return Window(photo.x1 - left, photo.y1 - top, photo.x1 - left + width, photo.y1 - top + height)


def crop_window(
    canvas: Window,
    boxes: NDArray[np.float32],
    options: tuple[float, ...],
    scale: tuple[float, float],
    aspect: tuple[float, float],
    trials: int,
    rng: np.random.Generator,
) -> Window:
    """A part of the canvas whose IoU with some object centred in it is at least that of a drawn option; 1: all of it.

    `scale` limits the crop's sides against the canvas, `aspect` its width against its height. An image without objects
    may be cropped anywhere. All trials of one option are judged at once; the first legal one is taken.
    """
    while True:
        least = options[rng.integers(len(options))]
        if least >= 1.0:
            return canvas
        crops = _draw_crops(canvas, scale, trials, rng)
        width, height = crops[2] - crops[0], crops[3] - crops[1]
        legal = (width >= aspect[0] * height) & (width <= aspect[1] * height) & (width > 0) & (height > 0)
        crops = crops[:, legal]
        if len(boxes):
            crops = crops[:, _best_iou(crops, boxes) >= least]
        if crops.shape[1]:
            x1, y1, x2, y2 = crops[:, 0].tolist()
            return Window(x1, y1, x2, y2)
        if 1.0 not in options:  # nothing would ever end the search
            return canvas


def _draw_crops(canvas: Window, scale: tuple[float, float], trials: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Crops x1, y1, x2, y2 [4, trials] in whole pixels, sides and places drawn evenly."""
    sides = np.array([canvas.width, canvas.height])
    drawn = rng.random((2, trials, 2))
    size = (sides * (scale[0] + (scale[1] - scale[0]) * drawn[0])).astype(np.int64)
    corner = ((sides - size) * drawn[1]).astype(np.int64) + np.array([canvas.x1, canvas.y1])
    return np.concatenate([corner.T, (corner + size).T])


def _best_iou(crops: NDArray[np.int64], boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Largest IoU of each crop [4, t] with a box [n, 4] centred strictly inside it [t]; -1 where none is.

    Coordinate by coordinate: arrays as small as these cost by the number of calls.
    """
    x1, y1, x2, y2 = crops.astype(np.float64)[:, :, None]
    a1, b1, a2, b2 = boxes.T.astype(np.float64)
    x, y = (a1 + a2) / 2, (b1 + b2) / 2
    inside = (x > x1) & (x < x2) & (y > y1) & (y < y2)
    width = np.minimum(x2, a2) - np.maximum(x1, a1)
    height = np.minimum(y2, b2) - np.maximum(y1, b1)
    overlap = np.where(inside, width * height, -1.0)  # what holds a box's centre overlaps it
    union = (x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - overlap
    return np.asarray((overlap / union).max(axis=1, initial=-1.0))
