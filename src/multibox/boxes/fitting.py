"""Shapes of priors fitted to objects: clusters of widths and heights by their overlap."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

_ROUNDS = 100

_WORTH = 0.005
"""Mean IoU that one more shape is to bring; a level has few where its objects are alike."""

_PLACES = (1 / 8, 3 / 8)
"""Distances of an object's centre from the nearest prior's along one side, in strides: the middles of 0..1/4..1/2."""


def shape_iou(sizes: Float[Tensor, "n 2"], shapes: Float[Tensor, "k 2"]) -> Float[Tensor, "n k"]:
    """IoU of every object with every shape (both widths and heights) where their centres coincide."""
    overlap = torch.minimum(sizes[:, None], shapes).prod(dim=-1)
    return overlap / (sizes.prod(dim=-1)[:, None] + shapes.prod(dim=-1) - overlap)


def cluster_shapes(sizes: Float[Tensor, "n 2"], count: int) -> Float[Tensor, "k 2"]:
    """At most `count` widths and heights that stand for those of at least one object, small ones first.

    k-means in which the distance is 1 - IoU and the centre is the median (YOLO9000 paper, section 2); it begins with
    objects at even ranks of the area, so that nothing is drawn. Of equal sizes there are fewer clusters.
    """
    order = sizes.prod(dim=-1).argsort(stable=True)
    ranks = ((torch.arange(count) + 0.5) / count * len(sizes)).long()
    shapes = sizes[order[ranks]].unique(dim=0)
    nearest: Int[Tensor, " n"] | None = None
    for _ in range(_ROUNDS):
        chosen = shape_iou(sizes, shapes).argmax(dim=1)
        if nearest is not None and torch.equal(chosen, nearest):
            break
        nearest = chosen
        shapes = torch.stack([sizes[chosen == each].median(dim=0).values for each in chosen.unique()])
    ordered: Tensor = shapes[shapes.prod(dim=-1).argsort(stable=True)]
    return ordered


def fit_shapes(sizes: Float[Tensor, "n 2"], most: int, stride: float) -> Float[Tensor, "k 2"]:
    """As many clusters as are worth having for priors at every `stride` pixels, at most `most`.

    One more is worth having where it raises the mean of the objects' best IoU by 0.005, the distance from an object's
    centre to the nearest prior's included: where objects are small against the stride, shapes help little.
    """
    shapes = cluster_shapes(sizes, 1)
    reached = _mean_best(sizes, shapes, stride)
    for count in range(2, most + 1):
        more = cluster_shapes(sizes, count)
        mean = _mean_best(sizes, more, stride)
        if mean < reached + _WORTH:
            break
        shapes, reached = more, mean
    return shapes


def _mean_best(sizes: Float[Tensor, "n 2"], shapes: Float[Tensor, "k 2"], stride: float) -> float:
    """The mean over objects of the IoU with their best shape, for objects anywhere between priors."""
    iou = torch.zeros(len(sizes), len(shapes))
    for dx in _PLACES:
        for dy in _PLACES:
            reach = (sizes[:, None] + shapes) / 2 - stride * torch.tensor([dx, dy])
            overlap = torch.minimum(torch.minimum(sizes[:, None], shapes), reach).clamp(min=0).prod(dim=-1)
            iou += overlap / (sizes.prod(dim=-1)[:, None] + shapes.prod(dim=-1) - overlap)
    return float((iou / len(_PLACES) ** 2).amax(dim=1).mean())
