"""Localisation: what the priors that learn an object lose by where they place it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

from multibox.boxes.coding import decode, encode
from multibox.boxes.overlap import paired_iou
from multibox.spec import ModelSpec
from multibox.training.losses.rules import BoxLoss

_IOU_LOSSES = {"giou": generalized_box_iou_loss, "diou": distance_box_iou_loss, "ciou": complete_box_iou_loss}


def box_losses(
    offsets: Float[Tensor, "k 4"],
    boxes: Float[Tensor, "k 4"],
    priors: Float[Tensor, "k 4"],
    spec: ModelSpec,
    kind: BoxLoss,
) -> Float[Tensor, " k"]:
    """Loss of each predicted offset from its prior, for the box x1, y1, x2, y2 in fractions that it should give.

    Smooth L1 with beta 1 is summed over the four encoded numbers (SSD paper, eq. 2); the IoU losses (Rezatofighi et
    al., 2019; Zheng et al., 2020) compare the decoded box in pixels of the input.
    """
    if kind == "smooth_l1":
        target = encode(boxes, priors, spec.coder)
        return functional.smooth_l1_loss(offsets, target, reduction="none").sum(1)
    pixels = boxes.new_tensor([spec.input.width, spec.input.height]).repeat(2)
    losses: Tensor = _IOU_LOSSES[kind](decode(offsets, priors, spec.coder) * pixels, boxes * pixels)
    return losses


@torch.no_grad()
def qualities(
    offsets: Float[Tensor, "k 4"], boxes: Float[Tensor, "k 4"], priors: Float[Tensor, "k 4"], spec: ModelSpec
) -> Float[Tensor, " k"]:
    """IoU of each decoded box with the box that it should be, which soft class targets are made of."""
    return paired_iou(decode(offsets, priors, spec.coder), boxes).clamp_(0, 1)
