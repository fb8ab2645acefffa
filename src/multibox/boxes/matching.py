"""Matching: which object each prior learns, for a whole batch at once."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from multibox.boxes.coding import to_corners
from multibox.boxes.nms import best_first
from multibox.boxes.overlap import paired_iou, pairwise_iou
from multibox.boxes.search import PriorIndex, index_priors, near_pairs
from multibox.spec import MatchingSpec


@torch.no_grad()
def match(
    boxes: Float[Tensor, "n g 4"],
    valid: Bool[Tensor, "n g"],
    priors: Float[Tensor, "p 4"],
    spec: MatchingSpec,
    input_size: tuple[int, int] | None = None,
) -> Int[Tensor, "n p"]:
    """Index of the object that each prior learns, -1 for background.

    `boxes` are x1, y1, x2, y2 and `priors` cx, cy, w, h, both in fractions; objects with `valid` false are padding. A
    prior takes the object of highest IoU (the first of equals) where that passes `spec.iou` or ties as `spec.ties`
    says; then every object gets its best prior by `spec.best_prior`. With `input_size` (height, width) the IoU is
    computed in pixels as torchvision does, which decides between priors whose IoU is equal but for rounding. Sources:
    SSD paper, section 2.2; torchvision; Caffe (bipartite); GluonCV (ties).
    """
    corners = to_corners(priors)
    if input_size is not None:
        scale = corners.new_tensor([input_size[1], input_size[0]]).repeat(2)
        boxes, corners = boxes * scale, corners * scale
    # On a processor most of the work is avoided; on an accelerator all pairs at once are quicker than looking for few.
    if spec.best_prior != "bipartite" and not spec.ties and spec.iou > 0 and boxes.device.type == "cpu":
        return _match_sparsely(boxes, valid, corners, index_priors(corners, priors[:, 2:]), spec)
    return _match_densely(boxes, valid, corners, spec)


def _match_densely(
    boxes: Float[Tensor, "n g 4"], valid: Bool[Tensor, "n g"], corners: Float[Tensor, "p 4"], spec: MatchingSpec
) -> Int[Tensor, "n p"]:
    """All pairs at once."""
    if valid.shape[1] == 0:
        return valid.new_full((len(valid), len(corners)), -1, dtype=torch.int64)
    # Padding can never win: every true IoU is at least 0.
    iou = pairwise_iou(boxes, corners, spec.iou_eps).masked_fill_(~valid[..., None], -1)
    best, index = iou.max(dim=1)
    passed = _passes(best, spec)
    if spec.ties:
        passed |= (best > 0) & (best >= iou.amax(dim=2).gather(1, index))
    matches = torch.where(passed, index, -1)
    if spec.best_prior == "per_object":
        image, obj = valid.nonzero(as_tuple=True)
        _force(matches, image, obj, iou.max(dim=2).indices[valid], spec)
    elif spec.best_prior == "bipartite":
        _force_bipartite(matches, iou)
    return matches


def _match_sparsely(
    boxes: Float[Tensor, "n g 4"],
    valid: Bool[Tensor, "n g"],
    corners: Float[Tensor, "p 4"],
    index: PriorIndex,
    spec: MatchingSpec,
) -> Int[Tensor, "n p"]:
    """The same from the few pairs that can pass the threshold, and a second search for objects without such a prior."""
    image, obj = valid.nonzero(as_tuple=True)
    objects = boxes[image, obj]
    of, prior, iou = _pairs_within(objects, corners, index, spec.iou, spec.iou_eps)
    passed = _passes(iou, spec).nonzero()[:, 0]
    cell = image[of] * len(corners) + prior
    matches = torch.full((len(valid), len(corners)), -1, device=boxes.device)
    first = passed[_first_of_each(iou[passed], cell[passed])]
    matches.view(-1)[cell[first]] = obj[of[first]]
    if spec.best_prior == "per_object":
        best = torch.full_like(obj, -1)
        first = _first_of_each(iou, of)
        best[of[first]] = prior[first]
        _search_wider(best, objects, corners, index, spec)
        _force(matches, image, obj, best, spec)
    return matches


def _search_wider(
    best: Int[Tensor, " m"],
    objects: Float[Tensor, "m 4"],
    corners: Float[Tensor, "p 4"],
    index: PriorIndex,
    spec: MatchingSpec,
) -> None:
    """Completes `best` for the objects (-1) of which no prior reaches the threshold."""
    lost = (best < 0).nonzero()[:, 0]
    of, prior, iou = _pairs_within(objects[lost], corners, index, spec.iou / 2, spec.iou_eps)
    first = _first_of_each(iou, of)
    best[lost[of[first]]] = prior[first]
    lost = (best < 0).nonzero()[:, 0]
    best[lost] = pairwise_iou(objects[lost], corners, spec.iou_eps).max(dim=1).indices


def _pairs_within(
    objects: Float[Tensor, "m 4"], corners: Float[Tensor, "p 4"], index: PriorIndex, bound: float, eps: float
) -> tuple[Int[Tensor, " k"], Int[Tensor, " k"], Float[Tensor, " k"]]:
    """All pairs (object, prior) of IoU `bound` or more, in this order, and their IoU."""
    of, prior = near_pairs(objects, index, bound)
    iou = paired_iou(objects.index_select(0, of), corners.index_select(0, prior), eps)
    kept = (iou >= bound).nonzero()[:, 0]
    kept = kept[(of[kept] * len(corners) + prior[kept]).sort().indices]
    return of[kept], prior[kept], iou[kept]


def _first_of_each(iou: Float[Tensor, " k"], group: Int[Tensor, " k"]) -> Int[Tensor, " groups"]:
    """Where the highest IoU of each group stands, the first of equals."""
    order = best_first(iou, group)
    ordered = group[order]
    return order[torch.cat([ordered.new_ones(min(1, len(ordered)), dtype=torch.bool), ordered[1:] != ordered[:-1]])]


def _passes(iou: Float[Tensor, "*n"], spec: MatchingSpec) -> Bool[Tensor, "*n"]:
    """Whether a prior of this IoU is positive."""
    return iou >= spec.iou if spec.inclusive else iou > spec.iou


def _force(
    matches: Int[Tensor, "n p"],
    image: Int[Tensor, " k"],
    obj: Int[Tensor, " k"],
    prior: Int[Tensor, " k"],
    spec: MatchingSpec,
) -> None:
    """Gives every object its best prior; of objects that share one, `spec.contested` keeps it."""
    cell, which = (image * matches.shape[1] + prior).unique(return_inverse=True)
    keeper = "amax" if spec.contested == "last" else "amin"
    given = torch.zeros_like(cell).scatter_reduce_(0, which, obj, keeper, include_self=False)
    matches.view(-1)[cell] = given


def _force_bipartite(matches: Int[Tensor, "n p"], iou: Float[Tensor, "n g p"]) -> None:
    """Gives away the globally best (object, prior) pair, once per object, each prior once; `iou` is used up."""
    n, g, p = iou.shape
    image = torch.arange(n, device=iou.device)
    for _ in range(g):
        value, pair = iou.flatten(1).max(dim=1)
        won = (value > 0).nonzero()[:, 0]  # objects without any overlap are left without a prior, as in Caffe
        im, obj, prior = image[won], pair[won] // p, pair[won] % p
        matches[im, prior] = obj
        iou[im, obj] = -1
        iou[im, :, prior] = -1
