"""Adaptive training sample selection: each object sets its own IoU threshold from the priors around its centre."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from multibox.boxes.assignment import at_once, inside, keep_all, settle
from multibox.boxes.coding import to_corners
from multibox.boxes.overlap import paired_iou

CELLS = 9
"""Nearest cells of each level whose priors are an object's candidates (ATSS paper, section 3.3)."""


@torch.no_grad()
def match_atss(
    boxes: Float[Tensor, "n g 4"],
    valid: Bool[Tensor, "n g"],
    priors: Float[Tensor, "p 4"],
    levels: Sequence[tuple[int, int]],
    input_size: tuple[int, int],
) -> Int[Tensor, "n p"]:
    """Index of the object that each prior learns, -1 for background; see `boxes.matching.match` for the tensors.

    `levels` are the priors of each map and of each of its cells, `input_size` the height and width in whose pixels
    distances are measured. An object's candidates are all priors of the nearest cells of every level; its threshold is
    the mean of their IoU plus its standard deviation. A candidate that reaches it and whose centre lies inside the
    object learns it, of several objects that of highest IoU; an object that no prior would learn gets its best one.
    Source: Zhang et al., Bridging the Gap Between Anchor-based and Anchor-free Detection (2020).
    """
    image, obj = valid.nonzero(as_tuple=True)
    objects, corners = boxes[image, obj], to_corners(priors)
    if not len(objects):
        return image.new_full((len(valid), len(priors)), -1)
    near = _nearest(objects, priors[:, :2], levels, input_size)
    iou = paired_iou(objects[:, None].expand(-1, near.shape[1], -1), corners[near])
    threshold = iou.mean(dim=1) + iou.std(dim=1)
    reached = (iou >= threshold[:, None]) & (iou > 0) & inside(priors[near, :2], objects[:, None])
    of, place = reached.nonzero(as_tuple=True)
    cell = image[of] * len(priors) + near[of, place]
    matches = settle(cell, obj[of], iou[of, place], (len(valid), len(priors)))
    keep_all(matches, boxes, valid, corners)
    return matches


def _nearest(
    objects: Float[Tensor, "m 4"],
    centers: Float[Tensor, "p 2"],
    levels: Sequence[tuple[int, int]],
    input_size: tuple[int, int],
) -> Int[Tensor, "m k"]:
    """Indexes of the priors of the nearest cells of all levels; the priors of one cell share their centre."""
    scale = centers.new_tensor([input_size[1], input_size[0]])
    middle = (objects[:, :2] + objects[:, 2:]) / 2 * scale
    found, first = [], 0
    for size, per_cell in levels:
        cells = centers[first : first + size : per_cell] * scale
        cell = torch.cat([_closest(some, cells) for some in middle.split(at_once(len(cells)))])
        shapes = torch.arange(per_cell, device=cells.device)
        found.append((first + cell[:, :, None] * per_cell + shapes).flatten(1))
        first += size
    return torch.cat(found, dim=1)


def _closest(points: Float[Tensor, "m 2"], cells: Float[Tensor, "c 2"]) -> Int[Tensor, "m k"]:
    """The cells nearest to each point, `CELLS` of them or as many as there are."""
    distance = (points[:, None] - cells).square_().sum(dim=2)
    return distance.topk(min(CELLS, len(cells)), dim=1, largest=False).indices
