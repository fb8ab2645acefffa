"""Samples made of several photos: mosaic (four in one input) and mixup (two, one shining through the other).

As in `augment`, geometry is drawn on boxes alone, and each photo is read at the smallest scale that has enough pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from multibox.data.photo import Photo
from multibox.data.render import Area, canvas, render_into
from multibox.data.view import Item, View
from multibox.data.window import Window, visible
from multibox.images.prepare import letterbox_area
from multibox.spec import InputSpec

_MIDDLE = (0.25, 0.75)
"""Where the four photos meet, as shares of the input's sides."""

_MIXUP_BETA = 32.0
"""Both numbers of the Beta distribution of mixup's shares (YOLOX and later): nearly halves."""


def mosaic(
    items: Sequence[Item],
    scale: tuple[float, float],
    fill: tuple[int, int, int],
    network: InputSpec,
    rng: np.random.Generator,
) -> View:
    """Four photos around a drawn point: top left, top right, bottom left, bottom right.

    Each is shown at its size in the network's input times a factor drawn from `scale`, cut where its quarter ends. A
    photo smaller than its quarter touches the point, and what it leaves of the quarter has the colour `fill`. An object
    stays where its centre is seen, as with crops.
    """
    low, high = _MIDDLE
    x, y = (round(side * rng.uniform(low, high)) for side in (network.width, network.height))
    quarters = (
        (0, 0, x, y),
        (x, 0, network.width, y),
        (0, y, x, network.height),
        (x, y, network.width, network.height),
    )
    patches, boxes, labels = [], [], []
    for index, (item, quarter) in enumerate(zip(items, quarters, strict=True)):
        window = _window(item.photo, quarter, index, rng.uniform(*scale), network, rng)
        cut, kept = visible(item.boxes, window, by_center=True)
        patch = render_into(item.photo, window, quarter, network.interpolation)
        patches.append(patch)
        boxes.append(patch.place(cut[kept], network))
        labels.append(item.labels[kept])
    area = _around([patch.area for patch in patches])
    return View(canvas(patches, fill, network), area, np.concatenate(boxes), np.concatenate(labels))


def mixup(one: View, other: View, rng: np.random.Generator) -> View:
    """Both views on top of each other, about half of each, with the objects of both."""
    share = rng.beta(_MIXUP_BETA, _MIXUP_BETA)
    image = cv2.addWeighted(one.image, share, other.image, 1 - share, 0)
    boxes, labels = np.concatenate([one.boxes, other.boxes]), np.concatenate([one.labels, other.labels])
    return View(image, _around([one.area, other.area]), boxes, labels)


def _window(
    photo: Photo, quarter: Area, index: int, factor: float, network: InputSpec, rng: np.random.Generator
) -> Window:
    """The part of the photo that a quarter shows; where the photo is too small for it, the part reaches beyond it."""
    width, height = photo.size
    inner = (network.width, network.height)
    if network.resize == "letterbox":
        inner = letterbox_area(width, height, network)[2:]
    sides = []
    for side, shown, cells, last in (
        (width, inner[0], quarter[2] - quarter[0], index in (0, 2)),
        (height, inner[1], quarter[3] - quarter[1], index in (0, 1)),
    ):
        length = max(1, round(side * cells / (shown * factor)))
        free, place = side - length, rng.random()
        start = int((free + 1) * place) if free >= 0 else free if last else 0
        sides.append((start, start + length))
    (x1, x2), (y1, y2) = sides
    return Window(x1, y1, x2, y2)


def _around(areas: Sequence[Area]) -> Area:
    """The smallest area that holds all of them."""
    x1, y1, x2, y2 = zip(*areas, strict=True)
    return min(x1), min(y1), max(x2), max(y2)
