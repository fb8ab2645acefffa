"""Non-maximum suppression: exactly the greedy rule, for all groups (classes, images) at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_HEAD = 128  # candidates per group that are decided at once
_PAIRS = 1 << 17  # pairs whose overlap is computed at once: small enough for the cache


@dataclass(frozen=True, kw_only=True)
class SuppressionRule:
    """When an earlier box removes a later one: IoU > `iou` (>= where `inclusive`), computed and compared in float32.

    `eps` is added to the denominator; `margin` is added to every side (1 in the legacy rule of whole pixels).
    """

    iou: float
    inclusive: bool = False
    eps: float = 0.0
    margin: float = 0.0


@torch.no_grad()
def nms(
    boxes: Float[Tensor, "m 4"],
    scores: Float[Tensor, " m"],
    groups: Int[Tensor, " m"],
    iou: float,
    *,
    inclusive: bool = False,
    eps: float = 0.0,
    plus_one: bool = False,
) -> Int[Tensor, " k"]:
    """Indices of the boxes kept, by descending score, the lower index first among equals.

    Within each group the best remaining box is kept and removes the boxes whose IoU with it is above `iou` (or equal
    to it, where `inclusive`), and so on. Boxes are x1, y1, x2, y2 in any unit (pixels with `plus_one`) and are compared
    as they are: the usual offset per class would round their coordinates.
    """
    by_score = scores.sort(descending=True, stable=True).indices
    order = by_score[groups[by_score].sort(stable=True).indices]
    rule = SuppressionRule(iou=iou, inclusive=inclusive, eps=eps, margin=float(plus_one))
    keep = torch.empty_like(order, dtype=torch.bool).scatter_(0, order, suppress(boxes[order], groups[order], rule))
    return by_score[keep[by_score]]


def best_first(scores: Float[Tensor, " m"], groups: Int[Tensor, " m"]) -> Int[Tensor, " m"]:
    """The order by group, then by descending score, then by index, for float32 scores of 0 or more.

    Bits of such floats are ordered as they are, so that both keys fit one integer and one sort.
    """
    return ((groups << 32) - scores.view(torch.int32)).sort(stable=True).indices


def suppress(boxes: Float[Tensor, "m 4"], groups: Int[Tensor, " m"], rule: SuppressionRule) -> Bool[Tensor, " m"]:
    """Which boxes are kept, for candidates that are sorted already, by group, then best first.

    The first candidates of every group are decided among themselves, then remove what they overlap of the rest, and
    so on: a crowded group costs kept times candidates, not candidates squared, and memory stays bounded.
    """
    size, rank = _ranks(groups)
    if not len(size) or int(size.max()) <= _HEAD:
        return _decide(boxes, rank, rule)
    keep = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    left = torch.arange(len(boxes), device=boxes.device)
    while len(left):
        size, rank = _ranks(groups[left])
        in_head = rank < _HEAD
        head, tail = left[in_head], left[~in_head]
        keep[head] = _decide(boxes[head], rank[in_head], rule)
        kept = head[keep[head]]
        # Behind the kept ones stands the tail; those of one group are a run that begins after the groups before it.
        per_group = torch.segment_reduce(keep[left].float(), "sum", lengths=size).long()
        number = (size - _HEAD).clamp_(min=0)
        count = per_group.repeat_interleave(number)
        first = (per_group.cumsum(0) - per_group).repeat_interleave(number)
        rows = torch.arange(len(kept), len(kept) + len(tail), device=boxes.device)
        removed = _removals(boxes[torch.cat([kept, tail])], rows, first, count, rule)[1] - len(kept)
        left = tail[torch.ones_like(tail, dtype=torch.bool).index_fill_(0, removed, False)]
    return keep


def _ranks(groups: Int[Tensor, " m"]) -> tuple[Int[Tensor, " g"], Int[Tensor, " m"]]:
    """Sizes of the runs of equal groups, and the place of each element in its run."""
    size = groups.unique_consecutive(return_counts=True)[1]
    start = (size.cumsum(0) - size).repeat_interleave(size)
    return size, torch.arange(len(groups), device=groups.device).sub_(start)


def _decide(boxes: Float[Tensor, "m 4"], rank: Int[Tensor, " m"], rule: SuppressionRule) -> Bool[Tensor, " m"]:
    """The greedy rule among candidates of known rank, each against all earlier ones of its group."""
    index = torch.arange(len(boxes), device=boxes.device)
    earlier, later = _removals(boxes, index, index - rank, rank, rule)
    keep = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    # A box stays unless a box that stays removes it. Every round settles one more link of each chain of removals, so
    # the only fixed point, the greedy result, is reached after as many rounds as the longest chain has links.
    while len(later):
        after = torch.ones_like(keep).index_fill_(0, later.masked_select(keep.index_select(0, earlier)), False)
        if torch.equal(after, keep):
            break
        keep = after
    return keep


def _removals(
    boxes: Float[Tensor, "m 4"],
    rows: Int[Tensor, " r"],
    first: Int[Tensor, " r"],
    count: Int[Tensor, " r"],
    rule: SuppressionRule,
) -> tuple[Int[Tensor, " e"], Int[Tensor, " e"]]:
    """Pairs (i, j) in which box i would remove box j: j over `rows`, i over the `count` boxes from `first` on."""
    corners = boxes.T.contiguous()  # whole columns are gathered and computed on several times faster
    total = count.cumsum(0)
    if not len(total) or int(total[-1]) <= _PAIRS:
        return _removals_at_once(corners, rows, first, count, rule)
    # A piece ends with the row that reaches the next multiple of _PAIRS.
    pieces = (total // _PAIRS).unique_consecutive(return_counts=True)[1].tolist()
    found = [
        _removals_at_once(corners, *piece, rule)
        for piece in zip(rows.split(pieces), first.split(pieces), count.split(pieces), strict=True)
    ]
    return torch.cat([pair[0] for pair in found]), torch.cat([pair[1] for pair in found])


def _removals_at_once(
    corners: Float[Tensor, "4 m"],
    rows: Int[Tensor, " r"],
    first: Int[Tensor, " r"],
    count: Int[Tensor, " r"],
    rule: SuppressionRule,
) -> tuple[Int[Tensor, " e"], Int[Tensor, " e"]]:
    """`_removals` with all its pairs in memory."""
    later = rows.repeat_interleave(count)
    earlier = (first - (count.cumsum(0) - count)).repeat_interleave(count)
    earlier += torch.arange(len(earlier), device=rows.device)
    hit = _removes(corners.index_select(1, earlier), corners.index_select(1, later), rule).nonzero()[:, 0]
    return earlier.index_select(0, hit), later.index_select(0, hit)


def _removes(a: Float[Tensor, "4 k"], b: Float[Tensor, "4 k"], rule: SuppressionRule) -> Bool[Tensor, " k"]:
    """Whether each box of `a` removes the box of `b` beside it; never where the IoU is 0 / 0."""
    sides = _sides(torch.maximum(a[:2], b[:2]), torch.minimum(a[2:], b[2:]), rule.margin).clamp_(min=0)
    inter = sides[0] * sides[1]
    first, second = _sides(a[:2], a[2:], rule.margin), _sides(b[:2], b[2:], rule.margin)
    union = (first[0] * first[1]).add_(second[0] * second[1]).sub_(inter)
    iou = inter.div_(union.add_(rule.eps) if rule.eps else union)
    return iou >= rule.iou if rule.inclusive else iou > rule.iou


def _sides(low: Float[Tensor, "2 k"], high: Float[Tensor, "2 k"], margin: float) -> Float[Tensor, "2 k"]:
    """Widths and heights."""
    return (high - low).add_(margin) if margin else high - low
