"""Classification: what priors lose by their scores; of the many negatives the hard ones alone, or all by how hard."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from multibox.spec import ModelSpec
from multibox.training.losses.rules import LossRules

_CHUNK = 1 << 20  # logits looked at at once while mining: fits the cache, and spares a second tensor of their size


class ClassTargets(NamedTuple):
    """What the priors of a batch should score: those that are not positive the background."""

    positive: Bool[Tensor, "n p"]
    row: Int[Tensor, " k"]
    """Places n * p of the positives."""
    label: Int[Tensor, " k"]
    """Their 0-based classes."""
    quality: Float[Tensor, " k"]
    """Their soft targets, 1 where targets are hard; the background should score the rest."""
    weight: Float[Tensor, " n"]
    """By what the summed loss of each image is multiplied."""

    def weigh(self, losses: Float[Tensor, " r"], row: Int[Tensor, " r"]) -> Float[Tensor, ""]:
        """Sum of the losses of these rows, each by the weight of its image."""
        return (losses * self.weight[row // self.positive.shape[1]]).sum()


def class_loss(
    logits: Float[Tensor, "rows columns"], targets: ClassTargets, spec: ModelSpec, rules: LossRules
) -> Float[Tensor, ""]:
    """The weighted sum over the priors of a batch (rows n * p) by the class loss that the rules name.

    `mined`: cross entropy of the positives and of the hardest negatives of each image (SSD paper, section 2.2).
    `focal`: of all priors, by how wrong each is (Lin et al., 2017). `quality_focal`, `varifocal`: the target of a
    positive is its quality (Li et al., 2020; Zhang et al., 2021). How wrong a softmax is, is half the sum of its
    differences from the target, which is 1 - p where the target is hard. The background column of a sigmoid model is a
    class like others where the spec says that it learns, else it is no part of the loss.
    """
    if spec.activation == "softmax":
        return (_mined_softmax if rules.class_loss == "mined" else _all_softmax)(logits, targets, rules)
    learns = spec.background and spec.loss.background_learns
    seen = logits[:, int(spec.background and not learns) :]
    return (_mined_sigmoid if rules.class_loss == "mined" else _all_sigmoid)(seen, targets, rules, learns)


def _mined_softmax(logits: Float[Tensor, "rows columns"], targets: ClassTargets, rules: LossRules) -> Float[Tensor, ""]:
    """Cross entropy of the positives and of the hardest negatives."""
    negative = _hard_negatives(logits, targets.positive, rules.negative_ratio, _softmax_as_background)
    column = torch.cat([targets.label + 1, torch.zeros_like(negative)])
    chosen = torch.cat([targets.row, negative])
    return targets.weigh(
        functional.cross_entropy(logits.index_select(0, chosen).float(), column, reduction="none"), chosen
    )


def _all_softmax(logits: Float[Tensor, "rows columns"], targets: ClassTargets, rules: LossRules) -> Float[Tensor, ""]:
    """The focal losses: of negatives only the background's probability counts, of positives all columns."""
    logits, gamma = logits.float(), rules.focal_gamma
    entropy = functional.cross_entropy(logits, targets.label.new_zeros(len(logits)), reduction="none")
    lost = entropy * torch.expm1(-entropy).neg().pow(gamma)
    lost = lost.view_as(targets.positive).masked_fill(targets.positive, 0.0).sum(dim=1)
    negatives = (lost * targets.weight).sum() * (1.0 if rules.class_loss == "quality_focal" else 1 - rules.focal_alpha)
    known = logits.index_select(0, targets.row).log_softmax(dim=1)
    target = torch.zeros_like(known).scatter_(1, targets.label[:, None] + 1, targets.quality[:, None])
    target[:, 0] = 1 - targets.quality
    factor = targets.quality
    if rules.class_loss != "varifocal":
        factor = ((known.exp() - target).abs().sum(dim=1) / 2).pow(gamma)
        factor = factor * rules.focal_alpha if rules.class_loss == "focal" else factor
    return negatives + targets.weigh(-(known * target).sum(dim=1) * factor, targets.row)


def _mined_sigmoid(
    logits: Float[Tensor, "rows columns"], targets: ClassTargets, rules: LossRules, learns: bool
) -> Float[Tensor, ""]:
    """Binary cross entropy of all columns of the positives and of the hardest negatives."""
    rank = partial(_sigmoid_as_background, learns=learns)
    negative = _hard_negatives(logits, targets.positive, rules.negative_ratio, rank)
    chosen = torch.cat([targets.row, negative])
    seen = logits.index_select(0, chosen).float()
    target = _sigmoid_targets(seen, torch.arange(len(targets.row), device=seen.device), targets, learns)
    entropy = functional.binary_cross_entropy_with_logits(seen, target, reduction="none")
    return targets.weigh(entropy.sum(dim=1), chosen)


def _all_sigmoid(
    logits: Float[Tensor, "rows columns"], targets: ClassTargets, rules: LossRules, learns: bool
) -> Float[Tensor, ""]:
    """The focal losses, every column by itself."""
    logits, alpha, gamma = logits.float(), rules.focal_alpha, rules.focal_gamma
    target = _sigmoid_targets(logits, targets.row, targets, learns)
    if rules.class_loss == "focal":
        losses = sigmoid_focal_loss(logits, target, alpha=alpha, gamma=gamma, reduction="none")
    else:
        factor = (logits.sigmoid() - target).abs().pow(gamma)
        if rules.class_loss == "varifocal":
            factor = (factor * (1 - alpha)).index_put((targets.row, targets.label + int(learns)), targets.quality)
        losses = functional.binary_cross_entropy_with_logits(logits, target, reduction="none") * factor
    total: Tensor = (losses.view(len(targets.weight), -1).sum(dim=1) * targets.weight).sum()
    return total


def _sigmoid_targets(
    logits: Float[Tensor, "r columns"], row: Int[Tensor, " k"], targets: ClassTargets, learns: bool
) -> Float[Tensor, "r columns"]:
    """What each column should score, the positives in these rows; column 0 is the background's if it learns."""
    target = torch.zeros_like(logits)
    if learns:
        target[:, 0] = 1.0
        target[row, 0] = 1 - targets.quality
    target[row, targets.label + int(learns)] = targets.quality
    return target


def _softmax_as_background(logits: Float[Tensor, "r columns"]) -> Float[Tensor, " r"]:
    """Loss of priors that should be background."""
    return logits.log_softmax(dim=1)[:, 0].neg()


def _sigmoid_as_background(logits: Float[Tensor, "r columns"], learns: bool) -> Float[Tensor, " r"]:
    """The same, of all columns together; column 0 is the background's if it learns."""
    loss = functional.softplus(logits).sum(dim=1)
    return loss - logits[:, 0] if learns else loss


@torch.no_grad()
def _hard_negatives(
    logits: Float[Tensor, "rows columns"],
    positive: Bool[Tensor, "n p"],
    ratio: float,
    as_background: Callable[[Tensor], Tensor],
) -> Int[Tensor, " k"]:
    """Rows of the negatives that are the worst taken for background, per image `ratio` times its positives.

    The loss of all priors is only ranked here, so no graph and no gradient of the size of the logits is made for it.
    """
    chunks = logits.split(max(1, _CHUNK // logits.shape[1]))
    loss = torch.cat([as_background(chunk.float()) for chunk in chunks]).view_as(positive)
    negatives = positive.logical_not().sum(dim=1)
    wanted = (positive.sum(dim=1) * ratio).long().minimum(negatives)
    most = int(wanted.max()) if len(wanted) else 0
    hardest = loss.masked_fill_(positive, -torch.inf).topk(most, dim=1).indices
    first = torch.arange(len(positive), device=logits.device)[:, None] * positive.shape[1]
    return (hardest + first)[torch.arange(most, device=logits.device) < wanted[:, None]]
