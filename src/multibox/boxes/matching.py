"""Matching: which object each prior learns, for a whole batch at once."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from multibox.boxes.coding import to_corners
from multibox.boxes.overlap import pairwise_iou
from multibox.spec import MatchingSpec


def match(
    boxes: Float[Tensor, "n g 4"],
    valid: Bool[Tensor, "n g"],
    priors: Float[Tensor, "p 4"],
    spec: MatchingSpec,
    input_size: tuple[int, int] | None = None,
) -> Int[Tensor, "n p"]:
    """Index of the object that each prior learns, -1 for background.

    `boxes` are x1, y1, x2, y2 and `priors` cx, cy, w, h in the same unit; with `input_size` (height, width) both are
    fractions and are compared in pixels, which decides nothing but ties; objects with `valid` false are padding. A
    prior takes the object of highest IoU (the first of equals) where that passes `spec.iou`; then every object gets
    its best prior by `spec.best_prior`. Source: SSD paper, section 2.2; the rules as torchvision and Caffe apply them.
    """
    n, g = valid.shape
    if g == 0:
        return torch.full((n, len(priors)), -1, dtype=torch.int64, device=boxes.device)
    # Padding can never win: every true IoU is at least 0.
    corners = to_corners(priors)
    if input_size is not None:
        # Many priors around a small object tie exactly; only the arithmetic of the codebase decides them as it does.
        height, width = input_size
        scale = boxes.new_tensor([width, height, width, height])
        boxes, corners = boxes * scale, corners * scale
    iou = pairwise_iou(boxes, corners, spec.iou_eps).masked_fill_(~valid[..., None], -1)
    best, index = iou.max(dim=1)
    passed = best >= spec.iou if spec.inclusive else best > spec.iou
    matches = torch.where(passed, index, -1)
    if spec.best_prior == "per_object":
        _force_per_object(matches, iou.max(dim=2).indices, valid)
    elif spec.best_prior == "bipartite":
        _force_bipartite(matches, iou)
    return matches


def _force_per_object(matches: Int[Tensor, "n p"], best: Int[Tensor, "n g"], valid: Bool[Tensor, "n g"]) -> None:
    """Gives every object its best prior; of objects that share one, the last keeps it."""
    order = torch.arange(best.shape[1], device=best.device).expand_as(best)
    forced = torch.full_like(matches, -1).scatter_reduce_(1, best, order.where(valid, -1), "amax")
    torch.where(forced >= 0, forced, matches, out=matches)


def _force_bipartite(matches: Int[Tensor, "n p"], iou: Float[Tensor, "n g p"]) -> None:
    """Gives away the globally best (object, prior) pair, once per object, each prior once; `iou` is used up."""
    n, g, p = iou.shape
    image = torch.arange(n, device=iou.device)
    for _ in range(g):
        value, pair = iou.flatten(1).max(dim=1)
        obj, prior = pair // p, pair % p
        won = value > 0
        matches[image, prior] = torch.where(won, obj, matches[image, prior])
        iou[image, obj] = -1
        iou[image, :, prior] = torch.where(won[:, None], -1, iou[image, :, prior])
