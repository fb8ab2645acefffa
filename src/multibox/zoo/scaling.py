"""A sheet's levels and priors for maps of other sizes: another input, or another backbone. Torch-free.

Sizes are (height, width) throughout. The side of an input that is not square means that of the square of equal area.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from multibox.errors import ModelError
from multibox.spec import ExtraBlock, ExtrasSpec, ModelSpec, PriorLevel, PriorsSpec

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A model's input, and its maps that have predictors, finest first."""

    input: Size
    maps: tuple[Size, ...]

    @property
    def cells(self) -> tuple[int, ...]:
        """How many every map has."""
        return tuple(height * width for height, width in self.maps)

    @property
    def side(self) -> float:
        """Of the input, in pixels."""
        return math.sqrt(self.input[0] * self.input[1])

    @property
    def strides(self) -> tuple[int, ...]:
        """Of every map, to the nearest power of two."""
        return tuple(2 ** round(math.log2(self.side / math.sqrt(cells))) for cells in self.cells)


def layout_of(spec: ModelSpec, taps: Sequence[Size]) -> Layout:
    """All maps of `spec`, told by those of its backbone and the strides of what comes after them."""
    maps = list(taps)
    for _ in range(spec.fpn.extra_levels if spec.fpn else 0):
        maps.append(_halved(maps[-1]))
    if spec.extras:
        last = maps.pop() if spec.extras.consumes_last else maps[-1]
        same = (spec.extras.padding or spec.backbone.padding) == "same"
        for block in spec.extras.blocks:
            last = _after(last, block, same)
            maps.append(last)
    return Layout(input=(spec.input.height, spec.input.width), maps=tuple(maps))


def with_levels(spec: ModelSpec, template: Layout, taps: Sequence[Size]) -> ModelSpec:
    """`spec`, which differs from the template in its input or backbone, with levels and priors for the maps `taps`.

    Where all maps are the template's its levels are kept. Otherwise each level after the backbone halves the one before
    it, and they end at the first whose priors are as large a share of the input as the template's last ones, or as
    large as the input. Raises `ModelError` where a map would have no fewer cells than the one before it.
    """
    share = _share_curve(spec.priors, template)
    enough = 0.999 * min(1.0, share(1))

    def levels_after(size: Size) -> int:
        count = 0
        while share(size[0] * size[1]) < enough:
            size, count = _halved(size), count + 1
        return count

    if spec.extras:
        spec = replace(spec, extras=_extras(spec, spec.extras, template, taps, levels_after))
    elif spec.fpn and layout_of(spec, taps).maps != template.maps:
        spec = replace(spec, fpn=replace(spec.fpn, extra_levels=levels_after(taps[-1])))
    layout = layout_of(spec, taps)
    if any(coarser >= finer for finer, coarser in pairwise(layout.cells)):
        height, width = layout.input
        maps = ", ".join(f"{columns}x{rows}" for rows, columns in layout.maps)
        raise ModelError(f"an input of {width}x{height} is too small for this model, whose maps would be {maps}")
    return replace(spec, priors=scaled_priors(spec.priors, template, layout))


def scaled_priors(priors: PriorsSpec, template: Layout, layout: Layout) -> PriorsSpec:
    """The template's priors for the maps of another layout.

    A map with as many cells as one of the template's has priors of the same share of the input's side; between two such
    maps shares are interpolated, and a map finer than the template's finest goes on as the two finest do, both on
    logarithmic scales. So squares stay squares of pixels, whatever the input's form. Ratios and numbers of shapes go by
    the level's relative place; centres lie in the middle of their cells. Where nothing differs nothing changes.
    """
    if layout == template:
        return priors
    given, last = priors.levels, len(layout.maps) - 1
    share = _share_curve(priors, template)
    levels = []
    for index, cells in enumerate(layout.cells):
        model = given[round(index * (len(given) - 1) / max(1, last))]
        levels.append(_resized(model, share(cells) * layout.side / _size_of(model)))
    if _chained(given):
        sizes = [level.min_size for level in levels[1:]]
        levels = [*(replace(level, max_size=size) for level, size in zip(levels, sizes, strict=False)), levels[-1]]
    return replace(priors, levels=tuple(levels))


def _chained(levels: Sequence[PriorLevel]) -> bool:
    """Whether every level's `max_size` is the next one's `min_size` (Caffe's rule)."""
    pairs = list(pairwise(levels))
    return bool(pairs) and all(finer.max_size == coarser.min_size is not None for finer, coarser in pairs)


def _share_curve(priors: PriorsSpec, layout: Layout) -> Callable[[int], float]:
    """Cells of a map -> what share of the input's side its priors are, as the levels of a layout have it.

    Straight between them on logarithmic scales, and beyond the finest; no larger than the coarsest.
    """
    sizes = {cells: _size_of(level) for cells, level in zip(layout.cells, priors.levels, strict=True)}
    points = [(math.log(cells), math.log(size / layout.side)) for cells, size in sizes.items()]

    def at(n: int) -> float:
        x = math.log(n)
        for (x1, y1), (x2, y2) in pairwise(points):
            if x > x2:
                return math.exp(y1 + (y2 - y1) * (x - x1) / (x2 - x1))
        return math.exp(points[-1][1])

    return at


def _size_of(level: PriorLevel) -> float:
    """The size that stands for a level: its smaller square, or the geometric mean of its shapes' sides."""
    if not level.shapes:
        return level.min_size or 1.0
    return math.exp(sum(math.log(width * height) for width, height in level.shapes) / (2 * len(level.shapes)))


def _resized(level: PriorLevel, factor: float) -> PriorLevel:
    """The same shapes times a factor, without a step of their own."""

    def times(size: float) -> float:
        return round(size * factor, 6)

    return PriorLevel(
        min_size=level.min_size and times(level.min_size),
        max_size=level.max_size and times(level.max_size),
        ratios=level.ratios,
        shapes=tuple((times(width), times(height)) for width, height in level.shapes),
    )


def _extras(
    spec: ModelSpec, extras: ExtrasSpec, template: Layout, taps: Sequence[Size], levels_after: Callable[[Size], int]
) -> ExtrasSpec | None:
    """The template's blocks where they lead to its maps; otherwise blocks that halve, as many as are needed."""
    before = layout_of(replace(spec, extras=None), taps).maps
    wanted = len(template.maps) - len(before) + extras.consumes_last
    taken_over = len(extras.blocks) - wanted  # blocks whose maps the backbone gives; below 0: the other way round

    def block(index: int) -> ExtraBlock:
        return extras.blocks[min(max(0, index + taken_over), len(extras.blocks) - 1)]

    kept = replace(extras, blocks=tuple(block(index) for index in range(wanted)))
    if layout_of(replace(spec, extras=kept), taps).maps == template.maps:
        return kept if wanted else None
    count = levels_after(before[-1])
    if extras.consumes_last or extras.first:  # which extras without blocks cannot do
        count = max(1, count)
    halving = (replace(block(index), stride=2, padding=1, kernel=3) for index in range(count))
    return replace(extras, blocks=tuple(halving)) if count else None


def _halved(size: Size) -> Size:
    """The map after a padded 3x3 of stride 2."""
    return -(-size[0] // 2), -(-size[1] // 2)


def _after(size: Size, block: ExtraBlock, same: bool) -> Size:
    """The map after a block of the extras."""

    def side(cells: int) -> int:
        if same:
            return -(-cells // block.stride)
        return (cells + 2 * block.padding - block.kernel) // block.stride + 1

    return side(size[0]), side(size[1])
