"""What the assigners share: who keeps a contested prior, and a prior for objects that would have none."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from multibox.boxes.overlap import pairwise_iou

_PAIRS = 1 << 22
"""Pairs (object, prior) looked at at once, which bounds the memory of a batch with many objects."""


def at_once(pairs_per_object: int) -> int:
    """How many objects are looked at at once where each has so many pairs."""
    return max(1, _PAIRS // max(1, pairs_per_object))


def inside(points: Float[Tensor, "*n 2"], boxes: Float[Tensor, "*m 4"]) -> Bool[Tensor, "*k"]:
    """Whether the points x, y lie inside the boxes x1, y1, x2, y2 that they broadcast against, not on their edge."""
    return ((points > boxes[..., :2]) & (points < boxes[..., 2:])).all(dim=-1)


def settle(
    cell: Int[Tensor, " k"], obj: Int[Tensor, " k"], iou: Float[Tensor, " k"], shape: tuple[int, int]
) -> Int[Tensor, "n p"]:
    """Matches of `shape` (n, p) from claims: of the objects that claim a cell n * p, that of highest IoU has it.

    The first of equals; cells that nobody claims are -1.
    """
    best = iou.new_zeros(shape).view(-1).scatter_reduce_(0, cell, iou, "amax", include_self=False)
    won = iou == best[cell]
    matches = obj.new_full(shape, -1)
    matches.view(-1).scatter_reduce_(0, cell[won], obj[won], "amin", include_self=False)
    return matches


def keep_all(
    matches: Int[Tensor, "n p"],
    boxes: Float[Tensor, "n g 4"],
    valid: Bool[Tensor, "n g"],
    corners: Float[Tensor, "p 4"],
) -> None:
    """Gives every valid object that no prior learns the prior x1, y1, x2, y2 of highest IoU, in place.

    A prior that is the only one of another object is not taken. Where several lost objects want the same prior, or
    priors of the same learner, that of highest IoU is served and the others look again; so each round serves one at
    least, and nobody is left unless an image has more objects than priors.
    """
    n, p = matches.shape
    image, obj = (valid & (_learners(matches, valid.shape[1]) == 0)).nonzero(as_tuple=True)
    while len(image):
        learners = _learners(matches, valid.shape[1])
        sole = (matches >= 0) & (learners.gather(1, matches.clamp(min=0)) == 1)
        iou, prior = _best_free(boxes[image, obj], image, corners, sole)
        learner = matches[image, prior]
        group = image * (p + valid.shape[1]) + torch.where(learner < 0, prior, p + learner)
        number = torch.arange(len(image), device=image.device)
        winner = settle(group, number, iou, (n, p + valid.shape[1])).view(-1)[group]
        served = (winner == number) & (iou >= 0)
        if not served.any():
            return
        matches[image[served], prior[served]] = obj[served]
        image, obj = image[~served], obj[~served]


def _learners(matches: Int[Tensor, "n p"], objects: int) -> Int[Tensor, "n g"]:
    """How many priors learn each object."""
    counts = matches.new_zeros(len(matches), objects + 1)
    return counts.scatter_add_(1, matches + 1, torch.ones_like(matches))[:, 1:]


def _best_free(
    objects: Float[Tensor, "m 4"], image: Int[Tensor, " m"], corners: Float[Tensor, "p 4"], taken: Bool[Tensor, "n p"]
) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
    """Highest IoU of each object with a prior that is not taken in its image, and that prior; -1 where all are."""
    size = at_once(len(corners))
    found = [
        pairwise_iou(some, corners).masked_fill_(taken[where], -1).max(dim=1)
        for some, where in zip(objects.split(size), image.split(size), strict=True)
    ]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])
