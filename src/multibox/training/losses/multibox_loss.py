"""The MultiBox loss: classification of all priors plus localisation of those that learn an object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from multibox.spec import LossSpec, ModelSpec
from multibox.training.losses.assign import assign
from multibox.training.losses.box_loss import box_losses, qualities
from multibox.training.losses.class_loss import ClassTargets, class_loss
from multibox.training.losses.rules import LossRules, rules_for
from multibox.training.processes import group


class MultiBoxLoss(NamedTuple):
    """Both parts of the loss, each a sum over the batch divided as `LossSpec.normalizer` says."""

    classification: Float[Tensor, ""]
    localization: Float[Tensor, ""]
    divisor: Float[Tensor, ""] = torch.tensor(1.0)
    """What both are divided by: batches weighed by it have the loss of the joint batch as their mean."""

    @property
    def total(self) -> Float[Tensor, ""]:
        """What is minimised."""
        return self.classification + self.localization


def multibox_loss(
    predictions: tuple[Float[Tensor, "n p columns"], Float[Tensor, "n p 4"]],
    boxes: Float[Tensor, "n g 4"],
    labels: Int[Tensor, "n g"],
    valid: Bool[Tensor, "n g"],
    priors: Float[Tensor, "p 4"],
    *,
    spec: ModelSpec,
    rules: LossRules | None = None,
    level_sizes: Sequence[int] = (),
) -> MultiBoxLoss:
    """Loss of a batch: `predictions` are (logits, offsets), `boxes` x1, y1, x2, y2 in fractions, `labels` 0-based.

    Objects with `valid` false are padding, and `g` may be 0: a batch without objects has a finite loss with a
    gradient. Without `rules` the sheet's matching, hard negatives 3:1 for softmax or focal loss for sigmoid models, and
    smooth L1 with beta 1. `level_sizes` are the priors of each map (`SSD.level_sizes`), which ATSS needs. Sources: SSD
    paper, section 2.2; torchvision; those of `losses.class_loss`, `losses.box_loss` and the assigners.
    """
    rules = rules or rules_for(spec)
    matches = assign(predictions, boxes, labels, valid, priors, spec=spec, rules=rules, level_sizes=level_sizes)
    return matched_loss(predictions, matches, boxes, labels, priors, spec=spec, rules=rules)


def matched_loss(
    predictions: tuple[Float[Tensor, "n p columns"], Float[Tensor, "n p 4"]],
    matches: Int[Tensor, "n p"],
    boxes: Float[Tensor, "n g 4"],
    labels: Int[Tensor, "n g"],
    priors: Float[Tensor, "p 4"],
    *,
    spec: ModelSpec,
    rules: LossRules | None = None,
) -> MultiBoxLoss:
    """The same for priors that are assigned already: `matches` is the index of the object each learns, or -1."""
    rules = rules or rules_for(spec)
    logits, offsets = (tensor.flatten(0, 1) for tensor in predictions)
    positive = matches >= 0
    image, prior = positive.nonzero(as_tuple=True)
    row, obj = image * len(priors) + prior, matches[image, prior]
    found, wanted, start = offsets.index_select(0, row).float(), boxes[image, obj], priors[prior]
    soft = rules.class_loss in ("quality_focal", "varifocal")
    quality = qualities(found.detach(), wanted, start, spec) if soft else torch.ones_like(found[:, 0])
    weights = _weights(positive, spec.loss)
    targets = ClassTargets(positive, row, labels[image, obj], quality, weights)
    localization = targets.weigh(box_losses(found, wanted, start, spec, rules.box_loss), row)
    classification = class_loss(logits, targets, spec, rules)
    per_image = spec.loss.normalizer == "positives_per_image"
    divisor = weights.new_full((), len(weights)) if per_image else 1 / weights[0]
    return MultiBoxLoss(spec.loss.classification_weight * classification, rules.box_weight * localization, divisor)


def _weights(positive: Bool[Tensor, "n p"], spec: LossSpec) -> Float[Tensor, " n"]:
    """By what the summed loss of each image is multiplied; see `LossSpec.normalizer`.

    Several processes divide by the mean of their totals: the mean of their losses is that of the joint batch.
    """
    counts = positive.sum(dim=1)
    if spec.normalizer == "positives_per_image":
        return torch.where(counts > 0, 1 / (counts.clamp(min=1) * len(counts)), 0.0)
    total = group.mean((counts.clamp(min=1) if spec.normalizer == "images" else counts).sum().float())
    total = total.clamp(min=1 / group.world())
    return (1 / total).expand(len(counts))
