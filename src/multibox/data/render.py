"""A window of a photo becomes a rectangle of the network's input, read at the smallest scale that has enough pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from multibox.data.photo import Photo
from multibox.data.window import Window
from multibox.images.prepare import letterbox_area
from multibox.images.read import Pixels, reduction
from multibox.spec import InputSpec

Area = tuple[int, int, int, int]
"""x1, y1, x2, y2 in whole pixels of the network's input."""

_HAIR = 1e-9
"""By which a quotient may exceed the whole number that it is."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Pixels uint8 [h, w, 3] RGB for one `area` of the input.

    A photo's pixel x lies at `x * scale + shift` in the input; both are given for x1, y1, x2, y2 [4].
    """

    pixels: Pixels
    area: Area
    scale: NDArray[np.float32]
    shift: NDArray[np.float32]

    def place(self, boxes: NDArray[np.float32], network: InputSpec) -> NDArray[np.float32]:
        """Boxes [n, 4] from pixels of the photo to fractions of the network's input."""
        sides = np.array([network.width, network.height] * 2, np.float32)
        return np.asarray(np.clip((boxes * self.scale + self.shift) / sides, 0, 1), np.float32)


def render(photo: Photo, window: Window, network: InputSpec) -> Patch:
    """What of the photo is seen where the whole input shows `window`, stretched or letterboxed as the sheet says."""
    x, y, width, height = 0, 0, network.width, network.height
    if network.resize == "letterbox":
        x, y, width, height = letterbox_area(window.width, window.height, network)
    return render_into(photo, window, (x, y, x + width, y + height), network.interpolation)


def render_into(photo: Photo, window: Window, area: Area, interpolation: str) -> Patch:
    """What of the photo is seen where `area` shows `window`, which may reach beyond the photo."""
    zoom_x, zoom_y = (area[2] - area[0]) / window.width, (area[3] - area[1]) / window.height
    seen = window.intersection(photo.size)
    left, right = _span(area[0], area[2], (seen.x1 - window.x1) * zoom_x, (seen.x2 - window.x1) * zoom_x)
    top, bottom = _span(area[1], area[3], (seen.y1 - window.y1) * zoom_y, (seen.y2 - window.y1) * zoom_y)
    width, height = right - left, bottom - top
    pixels = photo.read(reduction(min(seen.width / width, seen.height / height)))
    part, origin, extent = _part(pixels, seen, photo.size)
    scale = (width / extent[0], height / extent[1])
    shift = (left - origin[0] * scale[0], top - origin[1] * scale[1])
    return Patch(
        _resize(part, width, height, interpolation),
        (left, top, right, bottom),
        np.array(scale * 2, np.float32),
        np.array(shift * 2, np.float32),
    )


def canvas(patches: list[Patch], fill: tuple[int, int, int], network: InputSpec) -> Pixels:
    """The input with all patches in their places, on one colour where none is; a patch that covers all is taken."""
    height, width = network.height, network.width
    if len(patches) == 1:
        patch = patches[0]
        x1, y1, x2, y2 = patch.area
        if (x1, y1, x2, y2) == (0, 0, width, height):
            return patch.pixels
        border: Pixels = cv2.copyMakeBorder(
            patch.pixels, y1, height - y2, x1, width - x2, cv2.BORDER_CONSTANT, value=fill
        )
        return border
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = fill
    for patch in patches:
        x1, y1, x2, y2 = patch.area
        pixels[y1:y2, x1:x2] = patch.pixels
    return pixels


def _part(
    pixels: Pixels, seen: Window, size: tuple[int, int]
) -> tuple[Pixels, tuple[float, float], tuple[float, float]]:
    """The stored pixels that cover `seen`, their origin and their extent in pixels of the photo of `size`."""
    height, width = pixels.shape[:2]
    step_x, step_y = _step(size[0], width), _step(size[1], height)
    x1, y1 = min(int(seen.x1 / step_x + _HAIR), width - 1), min(int(seen.y1 / step_y + _HAIR), height - 1)
    x2, y2 = min(math.ceil(seen.x2 / step_x - _HAIR), width), min(math.ceil(seen.y2 / step_y - _HAIR), height)
    return pixels[y1:y2, x1:x2], (x1 * step_x, y1 * step_y), ((x2 - x1) * step_x, (y2 - y1) * step_y)


def _step(full: int, stored: int) -> float:
    """Pixels of the photo per stored pixel; a JPEG decoder's 1/2, 1/4, 1/8 are exact, the last pixel being cut."""
    for step in (1, 2, 4, 8):
        if stored == -(-full // step):
            return step
    return full / stored


def _span(start: int, end: int, low: float, high: float) -> tuple[int, int]:
    """The whole pixels from `start + low` to `start + high`, at least one, inside start..end."""
    first = min(max(round(start + low), start), end - 1)
    return first, min(max(round(start + high), first + 1), end)


def _resize(part: Pixels, width: int, height: int, interpolation: str) -> Pixels:
    """The patch at its size: the sheet's interpolation up to a reduction by two, area averages beyond.

    INTER_LINEAR skips pixels beyond two, and a zoomed-out photo would be noise that no prediction ever sees. Any other
    interpolation gets area averages for every reduction: `by_size` predicts by them, and they are close to Pillow's
    antialiasing filter but several times faster.
    """
    factor = min(part.shape[1] / width, part.shape[0] / height)
    area = factor >= 2.0 or (interpolation != "bilinear" and factor > 1.0)
    resized: Pixels = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if area else cv2.INTER_LINEAR)
    return resized
