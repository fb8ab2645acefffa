"""The priors in a TensorFlow detector's file: whether they are the usual ones of its configuration, else as numbers.

Source: object_detection, `anchor_generators/multiple_grid_anchor_generator.py` (SSD) and
`multiscale_grid_anchor_generator.py` (feature pyramids).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from multibox.errors import ModelError

Grid = tuple[int, int, int]
"""Rows, columns and priors per cell of one level."""
Shapes = list[tuple[float, float]]
"""Width and height of the priors of a cell, in fractions of the input."""

_SCALES = (0.2, 0.95)
_RATIOS = (1.0, 2.0, 0.5, 3.0, 0.3333)
_FIRST = ((0.1, 1.0), (0.2, 2.0), (0.2, 0.5))
"""Scales and ratios of the finest level of SSD."""
_CELLS, _OCTAVES, _PYRAMID_RATIOS = 4.0, (1.0, math.sqrt(2.0)), (1.0, 2.0, 0.5)
_FINEST_STEP = 8
_FLOAT_ERROR = 2e-6
_HALF = 0.501
"""How far rounding to whole multiples moves a number."""


def prior_changes(
    priors: Float[np.ndarray, "p 4"],
    grids: Sequence[Grid],
    size: tuple[int, int],
    quantum: float | None,
    sheet: str,
) -> dict[str, Any]:
    """What a sheet's priors must be changed to; `priors` are cx, cy, w, h in fractions, `size` is height and width.

    Nothing but the quantum where they are the usual ones, those of the sheet, for an input of its size. Raises
    `ModelError` where they are no grids of these sizes.
    """
    ends = np.cumsum([math.prod(grid) for grid in grids])
    if ends[-1] != len(priors):
        raise ModelError(f"it has {len(priors)} priors, its predictors are for {ends[-1]}")
    levels = [part.reshape(*grid, 4) for part, grid in zip(np.split(priors, ends[:-1]), grids, strict=True)]
    error = _FLOAT_ERROR + _HALF * (quantum or 0.0)
    usual = _of_pyramid(grids, size) if "fpn" in sheet else _of_ssd(grids)
    changes: dict[str, Any] = {"priors.quantum": quantum}
    same_size = size == (_side(sheet),) * 2
    if not (same_size and all(_is_near(*pair, error) for pair in zip(levels, usual, strict=True))):
        changes["priors.levels"] = [_as_level(level, size, error) for level in levels]
    return changes


def _side(sheet: str) -> int:
    """The input of a sheet, which its name states: `ssd300_...`."""
    return int(re.sub(r"\D*(\d+).*", r"\1", sheet))


def _of_ssd(grids: Sequence[Grid]) -> list[Float[np.ndarray, "h w a 4"]]:
    """Scales that grow evenly, ratios 1, 2, 1/2, 3, 1/3, and the square between two scales."""
    scales = [*np.linspace(*_SCALES, len(grids)), 1.0]
    levels = []
    for level, (rows, columns, _) in enumerate(grids):
        pairs = [(scales[level], ratio) for ratio in _RATIOS] + [(math.sqrt(scales[level] * scales[level + 1]), 1.0)]
        shapes = [(scale * math.sqrt(ratio), scale / math.sqrt(ratio)) for scale, ratio in (pairs if level else _FIRST)]
        levels.append(_grid(shapes, (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows))
    return levels


def _of_pyramid(grids: Sequence[Grid], size: tuple[int, int]) -> list[Float[np.ndarray, "h w a 4"]]:
    """Base 4 cells, two octaves, ratios 1, 2, 1/2; where a step does not divide the input, centres lie on corners."""
    height, width = size
    levels = []
    for level, (rows, columns, _) in enumerate(grids):
        step = _FINEST_STEP << level
        shapes = [
            (_CELLS * step * octave * math.sqrt(ratio) / width, _CELLS * step * octave / math.sqrt(ratio) / height)
            for ratio in _PYRAMID_RATIOS
            for octave in _OCTAVES
        ]
        x, y = (
            (np.arange(cells) + (0.0 if side % step else 0.5)) * step / side
            for cells, side in ((columns, width), (rows, height))
        )
        levels.append(_grid(shapes, x, y))
    return levels


def _grid(shapes: Shapes, x: Float[np.ndarray, " w"], y: Float[np.ndarray, " h"]) -> Float[np.ndarray, "h w a 4"]:
    """These shapes at all centres."""
    grid = np.empty((len(y), len(x), len(shapes), 4))
    grid[..., 0], grid[..., 1], grid[..., 2:] = x[None, :, None], y[:, None, None], shapes
    return grid


def _is_near(level: Float[np.ndarray, "h w a 4"], other: Float[np.ndarray, "h w b 4"], error: float) -> bool:
    """Whether two levels are the same but for rounding."""
    return level.shape == other.shape and bool(np.abs(level - other).max() <= error)


def _as_level(level: Float[np.ndarray, "h w a 4"], size: tuple[int, int], error: float) -> dict[str, Any]:
    """A level as a sheet states it (`PriorLevel`)."""
    height, width = size
    rows, columns = level.shape[:2]
    x = level[0, :, 0, 0].astype(np.float64)
    shapes = [(float(w), float(h)) for w, h in level[0, 0, :, 2:]]
    stated = {"shapes": [(round(w * width, 5), round(h * height, 5)) for w, h in shapes]}
    even = _grid(shapes, (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
    if _is_near(level, even, error):
        return stated
    step = width * (x[-1] - x[0]) / (columns - 1) if columns > 1 else float(width)
    offset = width * x[0] / step
    places = ((np.arange(columns) + offset) * step / width, (np.arange(rows) + offset) * step / height)
    if not _is_near(level, _grid(shapes, *places), 2 * error):
        raise ModelError("its priors are no regular grid")
    return stated | {"step": round(step, 5), "offset": round(offset, 6)}
