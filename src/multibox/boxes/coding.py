"""Box coding: boxes <-> what the network regresses, the offset of a box from its prior."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from multibox.spec import CoderSpec


def to_corners(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """cx, cy, w, h -> x1, y1, x2, y2."""
    centers, half = boxes[..., :2], boxes[..., 2:] * 0.5
    return torch.cat([centers - half, centers + half], dim=-1)


def to_centers(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """x1, y1, x2, y2 -> cx, cy, w, h."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) * 0.5, high - low], dim=-1)


def encode(boxes: Float[Tensor, "*n p 4"], priors: Float[Tensor, "p 4"], coder: CoderSpec) -> Float[Tensor, "*n p 4"]:
    """Offsets dx, dy, dw, dh of boxes x1, y1, x2, y2 from the priors cx, cy, w, h beside them (SSD paper, eq. 2).

    Boxes and priors share a unit and boxes have positive sides. `decode(encode(b)) == b` as long as the sides stay
    within the clamp of the coder.
    """
    box = to_centers(boxes)
    centers = (box[..., :2] - priors[:, :2]) / (priors[:, 2:] * coder.center_variance)
    sides = torch.log(box[..., 2:] / priors[:, 2:]) / coder.size_variance
    return torch.cat([centers, sides], dim=-1)


def decode(offsets: Float[Tensor, "*n p 4"], priors: Float[Tensor, "p 4"], coder: CoderSpec) -> Float[Tensor, "*n p 4"]:
    """Boxes x1, y1, x2, y2, not clipped, from offsets and the priors cx, cy, w, h beside them; inverse of `encode`."""
    sizes = priors[:, 2:]
    centers = offsets[..., :2] * coder.center_variance * sizes + priors[:, :2]
    scale = offsets[..., 2:] * coder.size_variance
    if coder.clamp_sides == "both":
        scale = scale.clamp(-coder.clamp, coder.clamp)
    elif coder.clamp_sides == "upper":
        scale = scale.clamp(max=coder.clamp)
    half = torch.exp(scale) * sizes * 0.5
    return torch.cat([centers - half, centers + half], dim=-1)
