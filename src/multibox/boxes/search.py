"""Finding the priors near each object without comparing all pairs: few of them overlap enough to matter."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_SLACK = 1 - 1e-4  # the bound below holds in exact arithmetic; this covers rounding


class PriorIndex(NamedTuple):
    """Priors by column and by row: those of equal shape that share their place along x, or along y."""

    columns: Float[Tensor, "x 4"]
    """One prior of each column, as x1, y1, x2, y2."""
    rows: Float[Tensor, "y 4"]
    members: Int[Tensor, " p"]
    """Priors sorted by column; those of one column are a run from `start` on, `length` long."""
    row: Int[Tensor, " p"]
    """Row of each member."""
    start: Int[Tensor, " x"]
    length: Int[Tensor, " x"]


def index_priors(corners: Float[Tensor, "p 4"], shapes: Float[Tensor, "p 2"]) -> PriorIndex:
    """The index of float32 priors x1, y1, x2, y2 with widths and heights `shapes` in any unit.

    Any priors can be indexed; it pays for grids, where 8,732 priors stand in 372 columns and 372 rows.
    """
    shape, _ = _numbered(shapes[:, 0], _bits(shapes[:, 1]))
    column, members = _numbered(corners[:, 0], shape)
    row, by_row = _numbered(corners[:, 1], shape)
    length, width = column.bincount(), row.bincount()
    start = length.cumsum(0) - length
    one_per_row = by_row[width.cumsum(0) - width]
    return PriorIndex(corners[members[start]], corners[one_per_row], members, row[members], start, length)


def near_pairs(
    boxes: Float[Tensor, "m 4"], index: PriorIndex, bound: float
) -> tuple[Int[Tensor, " k"], Int[Tensor, " k"]]:
    """(box, prior) of all pairs whose IoU can reach `bound` (> 0), and of some more, sorted by box only."""
    near_column, near_row = _reach(boxes, index.columns, 0, bound), _reach(boxes, index.rows, 1, bound)
    box, column = near_column.nonzero(as_tuple=True)
    count = index.length[column]
    box = box.repeat_interleave(count)
    at = (index.start[column] - (count.cumsum(0) - count)).repeat_interleave(count)
    at += torch.arange(len(at))
    # One flat look-up: whether the row of this prior is within reach of this box, too.
    place = box * near_row.shape[1] + index.row.index_select(0, at)
    hit = near_row.view(-1).index_select(0, place).nonzero()[:, 0]
    return box.index_select(0, hit), index.members.index_select(0, at.index_select(0, hit))


def _reach(boxes: Float[Tensor, "m 4"], priors: Float[Tensor, "i 4"], axis: int, bound: float) -> Bool[Tensor, "m i"]:
    """Where IoU can reach `bound` if the prior may be moved freely along the other axis than `axis`.

    inter / (both - inter) >= bound, written without a division; constants are worked into the short factors.
    """
    low = torch.maximum(boxes[:, axis, None], priors[:, axis])
    inter = torch.minimum(boxes[:, axis + 2, None], priors[:, axis + 2]).sub_(low)
    box, prior = boxes[:, 2:] - boxes[:, :2], priors[:, 2:] - priors[:, :2]
    gain = (1 + bound) / bound
    inter *= torch.minimum(box[:, 1 - axis, None] * gain, prior[:, 1 - axis] * gain)
    return inter >= (box.prod(dim=1) * _SLACK)[:, None] + prior.prod(dim=1) * _SLACK


def _numbered(first: Float[Tensor, " p"], second: Int[Tensor, " p"]) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"]]:
    """A number for each distinct pair (first, second), and the order by it; `second` fits 32 bits.

    `unique` does the same with a slower sort.
    """
    key, order = ((_bits(first) << 32) + second).sort(stable=True)
    number = torch.nn.functional.pad((key[1:] != key[:-1]).cumsum(0), (1, 0))
    return torch.empty_like(order).scatter_(0, order, number), order


def _bits(values: Float[Tensor, " p"]) -> Int[Tensor, " p"]:
    """The 32 bits of each float as an integer."""
    return values.contiguous().view(torch.int32).long()
