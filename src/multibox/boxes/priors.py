"""Default boxes: the fixed grid of priors that every prediction is relative to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from multibox.errors import ModelError
from multibox.spec import PriorLevel, PriorsSpec


def make_priors(
    spec: PriorsSpec, input_size: tuple[int, int], map_sizes: Sequence[tuple[int, int]]
) -> Float[Tensor, "p 4"]:
    """All priors as cx, cy, w, h in fractions of the network's input, ordered level, y, x, shape (Caffe's order).

    `input_size` and `map_sizes` are (height, width), one map per level of the spec; computed in float64, so that the
    float32 result does not depend on the order of operations. Raises `ModelError` where maps and levels differ in
    number or a level has no shape.
    """
    if len(map_sizes) != len(spec.levels):
        raise ModelError(f"the sheet has {len(spec.levels)} prior levels but the network gives {len(map_sizes)} maps")
    levels = [_level_priors(level, spec, input_size, size) for level, size in zip(spec.levels, map_sizes, strict=True)]
    priors = torch.cat(levels)
    if spec.clip == "size":
        priors[:, 2:].clamp_(0, 1)
    elif spec.clip == "center_form":
        priors.clamp_(0, 1)
    if spec.quantum is not None:
        priors = (priors / spec.quantum).round() * spec.quantum
    return priors.float()


def shapes_per_cell(level: PriorLevel) -> int:
    """How many priors stand on each cell of this level's map."""
    return len(_shapes(level, truncate=False))


def _level_priors(
    level: PriorLevel, spec: PriorsSpec, input_size: tuple[int, int], map_size: tuple[int, int]
) -> Float[Tensor, "p 4"]:
    """The priors of one map, not clipped, float64 fractions."""
    height, width = input_size
    rows, columns = map_size
    offset = spec.offset if level.offset is None else level.offset
    cy = _centers(rows, height, level.step, offset)
    cx = _centers(columns, width, level.step, offset)
    shapes = torch.tensor(_shapes(level, spec.truncate), dtype=torch.float64) / torch.tensor([width, height])
    grid = torch.empty(rows, columns, len(shapes), 4, dtype=torch.float64)
    grid[..., 0] = cx[None, :, None]
    grid[..., 1] = cy[:, None, None]
    grid[..., 2:] = shapes
    return grid.reshape(-1, 4)


def _centers(cells: int, side: int, step: float | None, offset: float) -> Float[Tensor, " cells"]:
    """Centres along one side of the input; without a step the cells share the side evenly."""
    index = torch.arange(cells, dtype=torch.float64) + offset
    return index / cells if step is None else index * (step / side)


def _shapes(level: PriorLevel, truncate: bool) -> list[tuple[float, float]]:
    """Widths and heights in pixels of the priors of one cell, in Caffe's order."""
    if level.shapes:
        return list(level.shapes)
    if level.min_size is None:
        raise ModelError("a prior level of the sheet has neither 'shapes' nor 'min_size'")
    # Caffe stores sizes as int, so 20.48 acts as 20, also inside the square root.
    small = math.trunc(level.min_size) if truncate else level.min_size
    shapes = [(float(small), float(small))]
    if level.max_size is not None:
        side = math.sqrt(small * (math.trunc(level.max_size) if truncate else level.max_size))
        shapes.append((side, side))
    for ratio in level.ratios:
        root = math.sqrt(ratio)
        shapes += [(small * root, small / root), (small / root, small * root)]
    return shapes
