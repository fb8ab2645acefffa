"""What is foreign about each codebase's numbers, so that ours can be brought to its form, or its to ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from multibox.boxes.coding import to_corners
from multibox.network.model import SSD

Size = tuple[int, int]
"""(height, width)."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """One codebase's conventions; the defaults are ours. `same_resize`: its resize is the very call that we make."""

    priors_form: Literal["corners", "centers"] = "centers"
    priors_unit: Literal["input", "fractions"] = "fractions"
    boxes_unit: Literal["photo", "input", "fractions"] = "fractions"
    background_last: bool = False
    offsets_order: tuple[int, int, int, int] = (0, 1, 2, 3)
    """Where dx, dy, dw, dh stand in the codebase's box regression (and cx, cy, w, h in its priors)."""
    shape_major: bool = False
    """Whether the priors of a level are ordered shape, y, x instead of y, x, shape."""
    first_label: int = 1
    """The codebase's label of the first foreground class in its detections."""
    first_matched_label: int = 1
    """The same in its matched labels."""
    first_truth_label: int = 1
    """The same in the truth that it is given."""
    same_resize: bool = True
    nms_in_photo: bool = False
    """Whether its NMS compares pixels of the photo; ours then compares those of an input of the photo's size."""
    box_loss_by_difference: bool = False
    """Whether a fixture's box loss is the total less the classification, so that it is as exact as the total is."""
    ties_by_rounding: bool = False
    """Whether the rounding of its priors, which is not ours, decides which of equally good priors an object gets."""
    spurious_positives: bool = False
    """Whether its matcher adds, for each object, the last prior whose best object it is (a fault; ours does not)."""

    def logits_to_ours(self, model: SSD, logits: Tensor) -> Tensor:
        """[n, p, columns] of the codebase in our order of priors and columns."""
        logits = logits[:, self.prior_order(model).argsort()]
        return torch.cat([logits[..., -1:], logits[..., :-1]], dim=-1) if self.background_last else logits

    def logits_to_theirs(self, model: SSD, logits: Tensor) -> Tensor:
        """The inverse of `logits_to_ours`."""
        logits = logits[:, self.prior_order(model)]
        return torch.cat([logits[..., 1:], logits[..., :1]], dim=-1) if self.background_last else logits

    def offsets_to_ours(self, model: SSD, offsets: Tensor) -> Tensor:
        """[n, p, 4] of the codebase as dx, dy, dw, dh in our order of priors."""
        return offsets[:, self.prior_order(model).argsort()][..., list(self.offsets_order)]

    def offsets_to_theirs(self, model: SSD, offsets: Tensor) -> Tensor:
        """The inverse of `offsets_to_ours`."""
        places = torch.tensor(self.offsets_order).argsort()
        return offsets[:, self.prior_order(model)][..., places]

    def priors_to_theirs(self, model: SSD, size: Size) -> Tensor:
        """Our priors in the codebase's form, unit and order."""
        priors = model.priors[self.prior_order(model)]
        if self.priors_form == "corners":
            priors = to_corners(priors)
        priors = priors * _scale(size) if self.priors_unit == "input" else priors
        return priors[..., torch.tensor(self.offsets_order).argsort()]

    def boxes_to_theirs(self, boxes: Tensor, size: Size, photo: Size) -> Tensor:
        """Our fractions x1, y1, x2, y2 in the unit of the codebase's detections."""
        if self.boxes_unit == "fractions":
            return boxes
        return boxes * _scale(size if self.boxes_unit == "input" else photo)

    def prior_order(self, model: SSD) -> Tensor:
        """Index of our prior for every one of the codebase's."""
        order, first = [], 0
        for count, level in zip(model.level_sizes, model.spec.priors.levels, strict=True):
            rows = torch.arange(first, first + count)
            first += count
            if self.shape_major:
                shapes = len(level.shapes) or 1 + (level.max_size is not None) + 2 * len(level.ratios)
                rows = rows.view(-1, shapes).T.reshape(-1)
            order.append(rows)
        return torch.cat(order)


def _scale(size: Size) -> Tensor:
    height, width = size
    return torch.tensor([width, height, width, height], dtype=torch.float32)


ADAPTERS = {
    "amdegroot": Adapter(first_truth_label=0),
    "gluon_pt": Adapter(
        priors_unit="input", boxes_unit="input", first_label=0, first_truth_label=0, spurious_positives=True
    ),
    "lufficc": Adapter(boxes_unit="photo"),
    "mindcv": Adapter(boxes_unit="photo", offsets_order=(1, 0, 3, 2), nms_in_photo=True, box_loss_by_difference=True),
    "mlperf": Adapter(shape_major=True),
    "mmdet": Adapter(
        priors_form="corners",
        priors_unit="input",
        boxes_unit="photo",
        background_last=True,
        first_label=0,
        first_matched_label=0,
        first_truth_label=0,
        ties_by_rounding=True,
    ),
    "mobilenext": Adapter(boxes_unit="photo"),
    "nvidia": Adapter(shape_major=True),
    "qfgaohao": Adapter(boxes_unit="photo"),
    # it resizes floats after normalising; we resize uint8 before
    "torchvision": Adapter(priors_form="corners", priors_unit="input", boxes_unit="photo", same_resize=False),
}
