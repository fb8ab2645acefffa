"""Non-maximum suppression in NumPy: exactly the greedy rule of `boxes.nms`, for all classes of an image at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_HEAD = 128
"""Candidates of a class that are decided at once."""
_PAIRS = 1 << 18
"""Pairs whose overlap is computed at once."""

_Floats = NDArray[np.float32]
_Ints = NDArray[np.int64]


class Rule(NamedTuple):
    """An earlier box removes a later one where IoU > `iou` (>= where `inclusive`); `eps` is added to the denominator,
    `margin` to every side.
    """

    iou: np.float32
    inclusive: bool
    eps: np.float32
    margin: np.float32


def suppress(boxes: _Floats, groups: _Ints, rule: Rule) -> NDArray[np.bool_]:
    """Which of the boxes [m, 4] are kept; they are sorted already, by group, then best first.

    The first candidates of every group are decided among themselves, then remove what they overlap of the rest, and so
    on, so that a crowded group costs kept times candidates, not candidates squared.
    """
    keep = np.zeros(len(boxes), np.bool_)
    left = np.arange(len(boxes))
    while len(left):
        size, rank = _ranks(groups[left])
        in_head = rank < _HEAD
        head, tail = left[in_head], left[~in_head]
        keep[head] = _decide(boxes[head], rank[in_head], rule)
        kept = head[keep[head]]
        if not len(tail):
            break
        # behind the kept ones stands the tail; the kept of one group are a run that begins after the groups before it
        per_group = np.add.reduceat(keep[left].astype(np.int64), np.cumsum(size) - size)
        number = np.maximum(size - _HEAD, 0)
        count = np.repeat(per_group, number)
        first = np.repeat(np.cumsum(per_group) - per_group, number)
        rows = np.arange(len(kept), len(kept) + len(tail))
        removed = _removals(boxes[np.concatenate([kept, tail])], rows, first, count, rule)[1] - len(kept)
        stays = np.ones(len(tail), np.bool_)
        stays[removed] = False
        left = tail[stays]
    return keep


def _ranks(groups: _Ints) -> tuple[_Ints, _Ints]:
    """Sizes of the runs of equal groups, and the place of each element in its run."""
    starts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))
    size = np.diff(np.append(starts, len(groups)))
    return size, np.arange(len(groups)) - np.repeat(starts, size)


def _decide(boxes: _Floats, rank: _Ints, rule: Rule) -> NDArray[np.bool_]:
    """The greedy rule among candidates of known rank, each against all earlier ones of its group.

    A box stays unless a box that stays removes it. Every round settles one more link of each chain of removals, so the
    only fixed point, the greedy result, is reached after as many rounds as the longest chain has links.
    """
    index = np.arange(len(boxes))
    earlier, later = _removals(boxes, index, index - rank, rank, rule)
    keep = np.ones(len(boxes), np.bool_)
    while True:
        after = np.ones_like(keep)
        after[later[keep[earlier]]] = False
        if np.array_equal(after, keep):
            return keep
        keep = after


def _removals(boxes: _Floats, rows: _Ints, first: _Ints, count: _Ints, rule: Rule) -> tuple[_Ints, _Ints]:
    """Pairs (i, j) in which box i would remove box j: j over `rows`, i over the `count` boxes from `first` on."""
    corners = np.ascontiguousarray(boxes.T)
    cuts = np.flatnonzero(np.diff(np.cumsum(count) // _PAIRS)) + 1  # a piece ends where the next multiple is reached
    pieces = zip(np.split(rows, cuts), np.split(first, cuts), np.split(count, cuts), strict=True)
    found = [_removals_at_once(corners, row, start, number, rule) for row, start, number in pieces]
    return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


def _removals_at_once(corners: _Floats, rows: _Ints, first: _Ints, count: _Ints, rule: Rule) -> tuple[_Ints, _Ints]:
    """`_removals` with all its pairs in memory."""
    later = np.repeat(rows, count)
    earlier = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(len(later))
    hit = np.flatnonzero(_removes(corners[:, earlier], corners[:, later], rule))
    return earlier[hit], later[hit]


def _removes(a: _Floats, b: _Floats, rule: Rule) -> NDArray[np.bool_]:
    """Whether each box of `a` [4, k] removes the box of `b` beside it; never where the IoU is 0 / 0."""
    wide, high = np.maximum(_sides(np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:]), rule), 0)
    inter = wide * high
    first, second = _sides(a[:2], a[2:], rule), _sides(b[:2], b[2:], rule)
    union = first[0] * first[1] + second[0] * second[1] - inter
    with np.errstate(divide="ignore", invalid="ignore"):
        iou = inter / (union + rule.eps if rule.eps else union)
    found: NDArray[np.bool_] = iou >= rule.iou if rule.inclusive else iou > rule.iou
    return found


def _sides(low: _Floats, high: _Floats, rule: Rule) -> _Floats:
    """Widths and heights [2, k]."""
    return (high - low) + rule.margin if rule.margin else high - low
