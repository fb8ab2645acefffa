"""Large pictures looked at in overlapping tiles, so that small objects are large enough for the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from multibox.errors import UsageError
from multibox.images.prepare import Prepared, prepare
from multibox.prediction.engines.base import RawDetections
from multibox.spec import InputSpec

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]

_TOUCH = 0.1
"""A small box of the whole picture that overlaps a tile's box by so much (IoU) is the same object, seen badly."""

_WHOLE, _CUT, _COARSE = 0, 1, 2
"""Ranks of boxes: those that are worth less come later."""

_EDGE = 0.01
"""A box that ends so near to its tile's border (as a share of the tile's side) is taken as cut by it."""


@dataclass(frozen=True)
class Tiles:
    """Tiles of `width` x `height` pixels of the photo, each overlapping the next by at least `overlap` of its side.

    With `whole` the whole picture is looked at as well, for objects that are larger than a tile.
    """

    width: int
    height: int
    overlap: float = 0.2
    whole: bool = True

    def __post_init__(self) -> None:
        """Raises `UsageError` for tiles that cannot be laid."""
        if self.width < 1 or self.height < 1:
            raise UsageError(f"tiles are at least 1 x 1 pixels, not {self.width} x {self.height}")
        if not 0 <= self.overlap <= 0.9:
            raise UsageError(f"the overlap of tiles is between 0 and 0.9 of a tile, not {self.overlap:g}")

    def places(self, width: int, height: int) -> list[tuple[int, int, int, int]]:
        """(x1, y1, x2, y2) of the tiles of a picture, row by row; the picture itself where one tile holds it."""
        xs, ys = _starts(width, self.width, self.overlap), _starts(height, self.height, self.overlap)
        return [(x, y, min(x + self.width, width), min(y + self.height, height)) for y in ys for x in xs]


class View(NamedTuple):
    """A part of the photo at network size; `bounds` x1, y1, x2, y2 are what it sees, infinite where the photo ends.

    Boxes up to `coarse` (width, height) pixels are seen whole, and better, in another view: those of the whole picture
    that are no larger than the overlap of tiles.
    """

    prepared: Prepared
    left: int
    top: int
    bounds: tuple[float, float, float, float]
    coarse: tuple[float, float] = (0.0, 0.0)

    def to_photo(self, boxes: Floats) -> Floats:
        """Boxes from fractions of the input to pixels of the photo."""
        moved = self.prepared.to_photo(boxes)
        return moved + np.array([self.left, self.top] * 2, np.float32) if self.left or self.top else moved


def whole_view(image: Pixels, spec: InputSpec, size: tuple[int, int], coarse: tuple[float, float] = (0, 0)) -> View:
    """All of the photo of `size` (width, height), whose `image` (uint8 [H, W, 3] RGB) may be smaller."""
    return View(prepare(image, spec, size), 0, 0, _bounds((0, 0, *size), *size), coarse)


def tiled_views(image: Pixels, spec: InputSpec, tiles: Tiles) -> tuple[View, ...]:
    """The photo (uint8 [H, W, 3] RGB) as the network will see it: in tiles, or whole and in tiles."""
    height, width = image.shape[:2]
    places = tiles.places(width, height)
    if len(places) == 1:
        return (whole_view(image, spec, (width, height)),)
    cuts = tuple(
        View(prepare(image[y1:y2, x1:x2], spec), x1, y1, _bounds((x1, y1, x2, y2), width, height))
        for x1, y1, x2, y2 in places
    )
    if not tiles.whole:
        return cuts
    coarse = tiles.width * tiles.overlap, tiles.height * tiles.overlap
    return (whole_view(image, spec, (width, height), coarse), *cuts)


def join(views: Sequence[View], found: Sequence[RawDetections], iou: float) -> tuple[Floats, Floats, Labels]:
    """What was found in all views as boxes in pixels of the photo, scores and labels, each object once.

    Two boxes of one class from different views are one object where they overlap by `iou` or more within the area that
    both views see: there both see the same. Of them a box that no tile's border cuts is kept before one that is cut,
    then the higher score; where all are cut, the box around them stands for them. Small boxes of the whole picture come
    last, and give way to every tile's box that they overlap.
    """
    if len(views) == 1:
        return views[0].to_photo(found[0].boxes), found[0].scores, found[0].labels
    view = np.repeat(np.arange(len(views)), [len(one.scores) for one in found])
    scores = np.concatenate([one.scores for one in found])
    labels = np.concatenate([one.labels for one in found])
    bounds = np.array([one.bounds for one in views], np.float32)[view]
    boxes = np.concatenate([one.to_photo(raw.boxes) for one, raw in zip(views, found, strict=True)])
    boxes = _clip(boxes, bounds)
    margin = _EDGE * np.array([[one.prepared.width, one.prepared.height] * 2 for one in views], np.float32)[view]
    cut = (np.abs(boxes - bounds) <= margin).any(axis=1)
    coarse = (boxes[:, 2:] - boxes[:, :2] <= np.array([one.coarse for one in views], np.float32)[view]).all(axis=1)
    kept = _each_once(boxes, scores, labels, view, bounds, np.where(coarse, _COARSE, cut), iou)
    return boxes[kept], scores[kept], labels[kept]


def _each_once(
    boxes: Floats,
    scores: Floats,
    labels: Labels,
    view: npt.NDArray[np.int64],
    bounds: Floats,
    rank: Labels,
    iou: float,
) -> list[int]:
    """The indexes that are kept, the lowest rank first; the boxes of objects that are cut grow in place."""
    alive = np.ones(len(boxes), bool)
    kept: list[int] = []
    for best in np.lexsort((-scores, rank)):
        if not alive[best]:
            continue
        kept.append(int(best))
        alive[best] = False
        rivals = np.flatnonzero(alive & (labels == labels[best]) & (view != view[best]))
        while len(same := rivals[_same(boxes, bounds, rank, best, rivals, iou)]):
            alive[same] = False
            if rank[best] != _CUT:
                break
            same = same[rank[same] == _CUT]
            _grow(boxes, best, same)
            _grow(bounds, best, same)
            rivals = rivals[alive[rivals]]
    return kept


def _same(
    boxes: Floats,
    bounds: Floats,
    rank: Labels,
    best: np.intp,
    rivals: npt.NDArray[np.intp],
    iou: float,
) -> npt.NDArray[np.bool_]:
    """Which of the rivals show the object of `best`; of one that is cut, what lies inside a whole box is its part."""
    seen = np.concatenate(
        [np.maximum(bounds[rivals, :2], bounds[best, :2]), np.minimum(bounds[rivals, 2:], bounds[best, 2:])], axis=1
    )
    ours, theirs = _clip(boxes[best], seen), _clip(boxes[rivals], seen)
    both = _area(np.concatenate([np.maximum(ours[:, :2], theirs[:, :2]), np.minimum(ours[:, 2:], theirs[:, 2:])], 1))
    their_area = _area(theirs)
    parts = (rank[rivals] == _CUT) & (rank[best] == _WHOLE)
    all_in_all = np.where(parts, their_area, _area(ours) + their_area - both)
    return (both > 0) & (both >= np.where(rank[rivals] == _COARSE, min(_TOUCH, iou), iou) * all_in_all)


def _grow(boxes: Floats, best: np.intp, others: npt.NDArray[np.intp]) -> None:
    """Makes a box the one around itself and the others, if any."""
    if not len(others):
        return
    boxes[best, :2] = np.minimum(boxes[best, :2], boxes[others, :2].min(axis=0))
    boxes[best, 2:] = np.maximum(boxes[best, 2:], boxes[others, 2:].max(axis=0))


def _clip(boxes: Floats, bounds: Floats) -> Floats:
    """Boxes cut to their bounds (inverted or empty where they lie outside)."""
    low, high = np.tile(bounds[:, :2], 2), np.tile(bounds[:, 2:], 2)
    return np.minimum(np.maximum(boxes, low), high)


def _area(boxes: Floats) -> Floats:
    """Areas; zero for boxes without any."""
    sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    areas: Floats = sizes[:, 0] * sizes[:, 1]
    return areas


def _bounds(place: tuple[int, int, int, int], width: int, height: int) -> tuple[float, float, float, float]:
    """The tile's borders, infinite where they are the photo's."""
    x1, y1, x2, y2 = place
    return (
        x1 if x1 > 0 else -np.inf,
        y1 if y1 > 0 else -np.inf,
        x2 if x2 < width else np.inf,
        y2 if y2 < height else np.inf,
    )


def _starts(size: int, tile: int, overlap: float) -> list[int]:
    """Where tiles begin along one side: as few as reach over it, evenly spread, the last one ending with it."""
    if size <= tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    number = -(-(size - tile) // step) + 1
    return [round(place * (size - tile) / (number - 1)) for place in range(number)]
