"""From scores and boxes to detections: threshold, top-k, suppression, order, for a whole batch at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from multibox.boxes.coding import decode
from multibox.boxes.nms import SuppressionRule, best_first, suppress
from multibox.errors import UsageError
from multibox.spec import ModelSpec, PostprocessSpec

_CHUNK = 1 << 20  # logits looked at in one piece
_AHEAD = 4  # as many times max_detections of an image are the best that are tried first
_SLACK = 1e-3  # in units of logits: far above rounding, so that the first look never drops what the threshold keeps


class Detections(NamedTuple):
    """What is found in one image: boxes x1, y1, x2, y2 in fractions of the input, scores, 0-based labels."""

    boxes: Float[Tensor, "k 4"]
    scores: Float[Tensor, " k"]
    labels: Int[Tensor, " k"]


class _Candidates(NamedTuple):
    """Pairs (prior, class) above the threshold: rows of the boxes, image * classes + label, and scores."""

    row: Int[Tensor, " m"]
    group: Int[Tensor, " m"]
    score: Float[Tensor, " m"]

    def take(self, index: Int[Tensor, " k"]) -> _Candidates:
        """The candidates at `index`."""
        return _Candidates(*(part.index_select(0, index) for part in self))


@torch.no_grad()
def detect(
    logits: Float[Tensor, "n p columns"],
    offsets: Float[Tensor, "n p 4"],
    priors: Float[Tensor, "p 4"],
    spec: ModelSpec,
    level_sizes: Sequence[int] = (),
) -> list[Detections]:
    """Detections per image straight from the network's output; the same as decoding all and `postprocess`, but faster.

    Scores and boxes are computed only for priors that can pass the threshold, which one look at the logits tells.
    """
    n, p, columns = logits.shape
    flat = logits.reshape(n * p, columns)
    row = _promising(flat, spec).nonzero()[:, 0]
    chosen = flat.index_select(0, row).float()
    scores = chosen.softmax(dim=1) if spec.activation == "softmax" else chosen.sigmoid()
    scores = scores[:, int(spec.background) :]
    image, prior = row // p, row % p
    boxes = decode(offsets.reshape(n * p, 4).index_select(0, row).float(), priors.index_select(0, prior), spec.coder)
    found = _candidates(scores, image, prior, spec.postprocess, level_sizes)
    return _finish(found, boxes, n, scores.shape[1], spec.postprocess, (spec.input.height, spec.input.width))


@torch.no_grad()
def postprocess(
    boxes: Float[Tensor, "n p 4"],
    scores: Float[Tensor, "n p c"],
    spec: PostprocessSpec,
    *,
    level_sizes: Sequence[int] = (),
    input_size: tuple[int, int] | None = None,
) -> list[Detections]:
    """Detections per image from decoded boxes (fractions) and the scores (0 or more) of the foreground classes.

    Scores must be above the threshold; the best `topk` per class, level or image go on, through NMS per class, and the
    best `max_detections` come out in the order of the spec (equal scores: by class, then by prior). `level_sizes` are
    the priors per level, needed where top-k is per level; `input_size` (height, width) is needed for `plus_one`.
    Raises `UsageError` where either is needed and missing.
    """
    n, p, classes = scores.shape
    flat = scores.reshape(n * p, classes)
    row = (flat.amax(dim=1) > spec.score_threshold).nonzero()[:, 0]
    found = _candidates(flat[row].float(), row // p, row % p, spec, level_sizes)
    return _finish(found, boxes.reshape(n * p, 4)[row].float(), n, classes, spec, input_size)


def _promising(logits: Float[Tensor, "r columns"], spec: ModelSpec) -> Bool[Tensor, " r"]:
    """Which rows may hold a score above the threshold: never wrong about the others, and without any exponential.

    A softmax score is at most 1 / (1 + exp(background - logit)), so it needs logit - background > logit(threshold).
    """
    threshold = spec.postprocess.score_threshold
    if not 0 < threshold < 1 or (spec.activation == "softmax" and not spec.background):
        return torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    floor = torch.full_like(logits[:, 0], math.log(threshold / (1 - threshold)) - _SLACK, dtype=torch.float32)
    if spec.activation == "softmax":
        floor += logits[:, 0].clamp(min=torch.finfo(logits.dtype).min)
    return _any_above(logits[:, int(spec.background) :], floor)


def _any_above(x: Float[Tensor, "r c"], floor: Float[Tensor, " r"]) -> Bool[Tensor, " r"]:
    """Whether a row of `x` has a value above its `floor`, which is finite; in pieces that fit the cache.

    Halves of a row are compared element by element and excesses are summed, which is quicker than a maximum per row.
    """
    size, half = max(1, _CHUNK // x.shape[1]), (x.shape[1] + 1) // 2
    excess = [
        (torch.maximum(piece[:, :half], piece[:, -half:]) - low[:, None]).clamp_(min=0).sum(dim=1)
        for piece, low in zip(x.split(size), floor.split(size), strict=True)
    ]
    return torch.cat(excess) > 0


def _candidates(
    scores: Float[Tensor, "r c"],
    image: Int[Tensor, " r"],
    prior: Int[Tensor, " r"],
    spec: PostprocessSpec,
    level_sizes: Sequence[int],
) -> _Candidates:
    """The pairs above the threshold, within the top-k where its scope is the level or the image."""
    row, label = (scores > spec.score_threshold).nonzero(as_tuple=True)
    group = (image * scores.shape[1]).index_select(0, row).add_(label)
    found = _Candidates(row, group, scores[row, label])
    if spec.topk is None or spec.topk_scope == "class":
        return found
    scope = image if spec.topk_scope == "global" else _levels(image, prior, level_sizes)
    return found.take(_best(found.score, scope.index_select(0, row), spec.topk).sort().values)


def _finish(
    found: _Candidates,
    boxes: Float[Tensor, "r 4"],
    images: int,
    classes: int,
    spec: PostprocessSpec,
    input_size: tuple[int, int] | None,
) -> list[Detections]:
    """Suppression, limit and order; the result of every image."""
    boxes = boxes.clamp(0, 1) if spec.clip else boxes
    if spec.drop_empty:
        found = found.take((boxes[:, 2:] > boxes[:, :2]).all(dim=1)[found.row].nonzero()[:, 0])
    found = _suppressed(found, _comparable(boxes, spec, input_size), images, classes, spec)
    if spec.max_per_class is not None:
        found = found.take(_best(found.score, found.group, spec.max_per_class))
    image = found.group // classes
    chosen = _best(found.score, image, spec.max_detections)
    if spec.order == "class":
        chosen = chosen.sort().values  # the order by class, then score, that suppression needed
    elif spec.order == "score_ascending":
        chosen = chosen.flip(0)
        chosen = chosen[image[chosen].sort(stable=True).indices]
    found = found.take(chosen)
    counts = image.index_select(0, chosen).bincount(minlength=images).tolist()
    parts = (boxes.index_select(0, found.row), found.score, found.group % classes)
    return [Detections(*each) for each in zip(*(part.split(counts) for part in parts), strict=True)]


def _suppressed(
    found: _Candidates, boxes: Float[Tensor, "r 4"], images: int, classes: int, spec: PostprocessSpec
) -> _Candidates:
    """What NMS keeps, at least as far as `max_detections` reaches; by group, then best first.

    A candidate is removed by better ones only. So where the best few of an image leave enough, they decide alone.
    """
    limit = None if spec.max_per_class else spec.max_detections
    if limit and len(found.score) > images * limit * _AHEAD:
        kept = _kept(found.take(_ahead(found, images, classes, limit * _AHEAD)), boxes, spec)
        enough = _per_image(kept, images, classes) >= limit
        if bool(enough.all()) or bool((enough | (_per_image(found, images, classes) <= limit * _AHEAD)).all()):
            return kept
    return _kept(found, boxes, spec)


def _per_image(found: _Candidates, images: int, classes: int) -> Int[Tensor, " images"]:
    """How many candidates each image has."""
    return (found.group // classes).bincount(minlength=images)


def _ahead(found: _Candidates, images: int, classes: int, count: int) -> Int[Tensor, " k"]:
    """The best `count` candidates of every image, and perhaps some of the same score, in the order they have."""
    if images > 1:
        return _best(found.score, found.group // classes, count).sort().values
    least = found.score.kthvalue(len(found.score) - count + 1).values
    return (found.score >= least).nonzero()[:, 0]


def _kept(found: _Candidates, boxes: Float[Tensor, "r 4"], spec: PostprocessSpec) -> _Candidates:
    """What NMS keeps of the top-k of each class."""
    order = _best(found.score, found.group, spec.topk if spec.topk_scope == "class" else None)
    rule = SuppressionRule(iou=spec.iou, inclusive=spec.iou_inclusive, eps=spec.iou_eps, margin=float(spec.plus_one))
    box, group = boxes.index_select(0, found.row.index_select(0, order)), found.group.index_select(0, order)
    return found.take(order.masked_select(suppress(box, group, rule)))


def _best(scores: Float[Tensor, " m"], groups: Int[Tensor, " m"], limit: int | None) -> Int[Tensor, " k"]:
    """Indices by group, then best first, at most `limit` of each group."""
    order = best_first(scores, groups)
    if limit is None or len(order) <= limit:
        return order
    # Sorted by group, a candidate is beyond the limit if the one `limit` places before it is of the same group.
    ordered = groups.index_select(0, order)
    within = ordered[limit:] != ordered[: len(order) - limit]
    return torch.cat([order[:limit], order[limit:].masked_select(within)])


def _levels(image: Int[Tensor, " r"], prior: Int[Tensor, " r"], level_sizes: Sequence[int]) -> Int[Tensor, " r"]:
    """One number per (image, level)."""
    if not level_sizes:
        raise UsageError("top-k per level needs the number of priors of each level; pass level_sizes")
    ends = torch.tensor(level_sizes, device=prior.device).cumsum(0)
    return image * len(level_sizes) + torch.bucketize(prior, ends, right=True)


def _comparable(
    boxes: Float[Tensor, "m 4"], spec: PostprocessSpec, input_size: tuple[int, int] | None
) -> Float[Tensor, "m 4"]:
    """Boxes in the unit in which NMS compares them: pixels of the input for `plus_one`, else as they are."""
    if not spec.plus_one:
        return boxes
    if input_size is None:
        raise UsageError("NMS by the rule of whole pixels (plus_one) needs the size of the input; pass input_size")
    height, width = input_size
    return boxes * boxes.new_tensor([width, height, width, height])
