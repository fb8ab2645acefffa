"""Which assigner and which losses a training uses; none of them changes what the trained network computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from multibox.errors import UsageError
from multibox.spec import ModelSpec

Assigner = Literal["sheet", "per_object", "bipartite", "atss", "aligned"]
ClassLoss = Literal["mined", "focal", "quality_focal", "varifocal"]
BoxLoss = Literal["smooth_l1", "giou", "diou", "ciou"]

IOU_LOSS_WEIGHT = 2.0
"""Usual weight of an IoU loss beside the classification (ATSS paper, section 4)."""


@dataclass(frozen=True, kw_only=True)
class LossRules:
    """How priors are assigned and what they lose; all combinations are possible. Made by `rules_for`."""

    assigner: Assigner
    """`sheet`: the matching of the sheet as it is; `per_object`, `bipartite`: with this rule of the best prior."""
    class_loss: ClassLoss
    box_loss: BoxLoss
    box_weight: float
    """Multiplies the localisation."""
    negative_ratio: float
    """Hard negatives per positive of the mined loss."""
    focal_alpha: float
    """Weight of what is to be found; all else weighs 1 - alpha, in the varifocal loss too."""
    focal_gamma: float
    """Power of how wrong a score is by which its loss is multiplied."""


def rules_for(
    spec: ModelSpec,
    *,
    assigner: Assigner = "sheet",
    class_loss: Literal["sheet", ClassLoss] = "sheet",
    box_loss: BoxLoss = "smooth_l1",
    box_weight: float | None = None,
    negative_ratio: float = 3.0,
    focal_alpha: float | None = None,
    focal_gamma: float | None = None,
) -> LossRules:
    """The rules for a model, with its own where nothing is said.

    The class loss of a sheet is mined cross entropy for softmax and focal for sigmoid models, with its alpha and gamma;
    localisation weighs 1 as smooth L1, else `IOU_LOSS_WEIGHT`. Raises `UsageError` for a model that cannot be trained.
    """
    if spec.activation == "softmax" and not spec.background:
        raise UsageError(f"{spec.name}: a model with softmax scores needs a background column to be trained")
    if class_loss == "sheet":
        class_loss = "mined" if spec.activation == "softmax" else "focal"
    if box_weight is None:
        box_weight = 1.0 if box_loss == "smooth_l1" else IOU_LOSS_WEIGHT
    return LossRules(
        assigner=assigner,
        class_loss=class_loss,
        box_loss=box_loss,
        box_weight=box_weight,
        negative_ratio=negative_ratio,
        focal_alpha=spec.loss.focal_alpha if focal_alpha is None else focal_alpha,
        focal_gamma=spec.loss.focal_gamma if focal_gamma is None else focal_gamma,
    )
