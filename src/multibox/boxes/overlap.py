"""Intersection over union of boxes x1, y1, x2, y2."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def areas(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """Area of every box, in the square of its unit."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def pairwise_iou(a: Float[Tensor, "*n g 4"], b: Float[Tensor, "p 4"], eps: float = 0.0) -> Float[Tensor, "*n g p"]:
    """IoU of every box of `a` with every box of `b`; `eps` is added to the denominator.

    Two boxes without area give 0 / 0 = NaN unless `eps` is positive.
    """
    return _iou(a[..., None, :], b, eps)


def paired_iou(a: Float[Tensor, "*n 4"], b: Float[Tensor, "*n 4"], eps: float = 0.0) -> Float[Tensor, "*n"]:
    """IoU of every box of `a` with the box of `b` at the same place, to the same last bit as `pairwise_iou`."""
    return _iou(a, b, eps)


def _iou(a: Tensor, b: Tensor, eps: float) -> Tensor:
    """IoU of boxes that broadcast against each other."""
    inter = _side(a, b, 0).mul_(_side(a, b, 1))
    union = (areas(a) + areas(b)).sub_(inter)
    return inter.div_(union.add_(eps) if eps else union)


def _side(a: Tensor, b: Tensor, axis: int) -> Tensor:
    """Length of the intersections along x (axis 0) or y (axis 1), 0 where there is none."""
    low = torch.maximum(a[..., axis], b[..., axis])
    return torch.minimum(a[..., axis + 2], b[..., axis + 2]).sub_(low).clamp_(min=0)
