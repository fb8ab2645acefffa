"""From boxes and scores of all priors to detections in NumPy: the rule of `boxes.postprocess`, without torch.

For files whose runtime has no operator for NMS. Arithmetic is float32 in the same order as in torch, so that the same
boxes and scores give the same detections, ties included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multibox.prediction.engines.base import RawDetections
from multibox.prediction.engines.host_suppress import Rule, suppress
from multibox.spec import ModelSpec, PostprocessSpec

_Floats = NDArray[np.float32]
_Ints = NDArray[np.int64]


class _Candidates(NamedTuple):
    """Pairs (prior, class) above the threshold in one image."""

    prior: _Ints
    label: _Ints
    score: _Floats

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> _Candidates:
        """Those at `index`, or where it is true."""
        return _Candidates(self.prior[index], self.label[index], self.score[index])


def find(boxes: _Floats, scores: _Floats, spec: ModelSpec, level_sizes: Sequence[int]) -> list[RawDetections]:
    """Detections per image, best first, from boxes [n, p, 4] (fractions) and scores [n, p, c] of foreground classes.

    `level_sizes`: the priors of each map, which a top-k per level needs. The order is always by descending score
    (equal ones by class, then by prior), whatever the sheet says.
    """
    size = (spec.input.height, spec.input.width)
    pairs = zip(boxes, scores, strict=True)
    return [_find_in_image(box, score, spec.postprocess, level_sizes, size) for box, score in pairs]


def _find_in_image(
    boxes: _Floats, scores: _Floats, rule: PostprocessSpec, level_sizes: Sequence[int], size: tuple[int, int]
) -> RawDetections:
    """One image: boxes [p, 4], scores [p, c]; `size` of the input is (height, width)."""
    prior, label = np.nonzero(scores > np.float32(rule.score_threshold))
    found = _Candidates(prior, label, scores[prior, label])
    if rule.topk is not None and rule.topk_scope != "class":
        per_level = rule.topk_scope == "level"
        scope = np.searchsorted(np.cumsum(level_sizes), found.prior, "right") if per_level else np.zeros_like(prior)
        found = found.take(np.sort(_best(found.score, scope, rule.topk)))
    boxes = boxes.clip(0, 1) if rule.clip else boxes
    if rule.drop_empty:
        filled: NDArray[np.bool_] = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        found = found.take(filled[found.prior])
    order = _best(found.score, found.label, rule.topk if rule.topk_scope == "class" else None)
    found = found.take(order)
    found = found.take(suppress(_comparable(boxes, rule, size)[found.prior], found.label, _rule(rule)))
    if rule.max_per_class is not None:
        found = found.take(_best(found.score, found.label, rule.max_per_class))
    found = found.take(_best(found.score, np.zeros_like(found.label), rule.max_detections))
    return RawDetections(boxes[found.prior].astype(np.float32), found.score.astype(np.float32), found.label)


def _best(scores: _Floats, groups: _Ints, limit: int | None) -> _Ints:
    """Indices by group, then best first (equal ones as they come), at most `limit` of each group."""
    order = np.lexsort((-scores, groups))
    if limit is None or len(order) <= limit:
        return order
    ordered = groups[order]
    within = ordered[limit:] != ordered[: len(order) - limit]
    return np.concatenate([order[:limit], order[limit:][within]])


def _rule(rule: PostprocessSpec) -> Rule:
    """When one box removes another."""
    return Rule(
        iou=np.float32(rule.iou),
        inclusive=rule.iou_inclusive,
        eps=np.float32(rule.iou_eps),
        margin=np.float32(rule.plus_one),
    )


def _comparable(boxes: _Floats, rule: PostprocessSpec, size: tuple[int, int]) -> _Floats:
    """Boxes in the unit in which NMS compares them: pixels of the input for `plus_one`, else as they are."""
    return boxes * np.array([size[1], size[0]] * 2, np.float32) if rule.plus_one else boxes
