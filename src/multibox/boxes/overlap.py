"""Intersection over union of boxes x1, y1, x2, y2."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def areas(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """Area of every box, in the square of its unit."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def pairwise_iou(
    a: Float[Tensor, "*n g 4"], b: Float[Tensor, "p 4"], eps: float = 0.0
) -> Float[Tensor, "*n g p"]:
    """IoU of every box of `a` with every box of `b`; `eps` is added to the denominator.

    Two boxes without area give 0 / 0 = NaN unless `eps` is positive.
    """
    inter = _side(a, b, 0).mul_(_side(a, b, 1))
    union = (areas(a)[..., None] + areas(b)).sub_(inter)
    return inter.div_(union.add_(eps) if eps else union)


def _side(a: Float[Tensor, "*n g 4"], b: Float[Tensor, "p 4"], axis: int) -> Float[Tensor, "*n g p"]:
    """Length of the intersections along x (axis 0) or y (axis 1), 0 where there is none."""
    low = a[..., axis, None].maximum(b[:, axis])
    return a[..., axis + 2, None].minimum(b[:, axis + 2]).sub_(low).clamp_(min=0)
