"""Task-aligned assignment: each object is learnt by the priors that already score and place it best."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from multibox.boxes.assignment import at_once, inside, keep_all, settle
from multibox.boxes.coding import to_corners
from multibox.boxes.overlap import paired_iou

TOPK = 13
"""Priors for each object (TOOD paper, section 4.1)."""

SCORE_POWER, IOU_POWER = 1.0, 6.0
"""Powers of score and IoU in the alignment (TOOD paper, table 4)."""


@torch.no_grad()
def match_aligned(
    boxes: Float[Tensor, "n g 4"],
    labels: Int[Tensor, "n g"],
    valid: Bool[Tensor, "n g"],
    priors: Float[Tensor, "p 4"],
    scores: Float[Tensor, "n p c"],
    decoded: Float[Tensor, "n p 4"],
) -> Int[Tensor, "n p"]:
    """Index of the object that each prior learns, -1 for background; see `boxes.matching.match` for the tensors.

    `scores` are the step's probabilities of the foreground classes, `decoded` its boxes x1, y1, x2, y2 in fractions.
    Among the priors whose centre lies inside an object, the `TOPK` of highest score ** SCORE_POWER * IoU ** IOU_POWER
    above 0 learn it, with the score of its class and the IoU of the predicted box. A prior chosen by several objects
    learns that of highest IoU; an object that no prior would learn gets the prior that overlaps it best. Source: Feng
    et al., TOOD: Task-aligned One-stage Object Detection (2021).
    """
    image, obj = valid.nonzero(as_tuple=True)
    objects, label = boxes[image, obj], labels[image, obj]
    parts = torch.arange(len(image), device=boxes.device).split(at_once(len(priors)))
    found = [
        _chosen(objects[part], priors[:, :2], scores[image[part], :, label[part]], decoded[image[part]])
        for part in parts
    ]
    prior, iou = (torch.cat(each) for each in zip(*found, strict=True))
    of, place = (iou > 0).nonzero(as_tuple=True)
    cell = image[of] * len(priors) + prior[of, place]
    matches = settle(cell, obj[of], iou[of, place], (len(valid), len(priors)))
    keep_all(matches, boxes, valid, to_corners(priors))
    return matches


def _chosen(
    objects: Float[Tensor, "m 4"],
    centers: Float[Tensor, "p 2"],
    score: Float[Tensor, "m p"],
    decoded: Float[Tensor, "m p 4"],
) -> tuple[Int[Tensor, "m k"], Float[Tensor, "m k"]]:
    """Each object's best aligned priors, and the IoU of their predicted boxes with it; -1 for those not chosen."""
    iou = paired_iou(objects[:, None].expand_as(decoded), decoded)
    alignment = score.pow(SCORE_POWER) * iou.pow(IOU_POWER) * inside(centers, objects[:, None])
    best, prior = alignment.topk(min(TOPK, len(centers)), dim=1)
    return prior, torch.where(best > 0, iou.gather(1, prior), -1.0)
