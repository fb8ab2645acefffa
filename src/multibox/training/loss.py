"""The MultiBox loss: classification with hard negatives (or focal) plus localisation of the matched priors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from multibox.boxes.coding import encode
from multibox.boxes.matching import match
from multibox.spec import LossSpec, ModelSpec

_CHUNK = 1 << 20  # logits looked at at once while mining: fits the cache, and spares a second tensor of their size


class MultiBoxLoss(NamedTuple):
    """Both parts of the loss, each a sum over the batch divided as `LossSpec.normalizer` says."""

    classification: Float[Tensor, ""]
    localization: Float[Tensor, ""]

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
    negative_ratio: float = 3.0,
) -> MultiBoxLoss:
    """Loss of a batch: `predictions` are (logits, offsets), `boxes` x1, y1, x2, y2 in fractions, `labels` 0-based.

    Objects with `valid` false are padding, and `g` may be 0: a batch without objects has a finite loss with a
    gradient. Softmax models learn by cross entropy on the positives and, per image, on the `negative_ratio` times as
    many negatives of highest loss; sigmoid models by focal loss on all priors. Localisation is smooth L1 with beta 1.
    Sources: SSD paper, section 2.2; Lin et al., Focal Loss; torchvision.
    """
    matches = match(boxes, valid, priors, spec.matching, spec.matching_size)
    return matched_loss(predictions, matches, boxes, labels, priors, spec=spec, negative_ratio=negative_ratio)


def matched_loss(
    predictions: tuple[Float[Tensor, "n p columns"], Float[Tensor, "n p 4"]],
    matches: Int[Tensor, "n p"],
    boxes: Float[Tensor, "n g 4"],
    labels: Int[Tensor, "n g"],
    priors: Float[Tensor, "p 4"],
    *,
    spec: ModelSpec,
    negative_ratio: float = 3.0,
) -> MultiBoxLoss:
    """The same for priors that are matched already: `matches` is the index of the object each learns, or -1."""
    logits, offsets = (tensor.flatten(0, 1) for tensor in predictions)
    positive = matches >= 0
    image, prior = positive.nonzero(as_tuple=True)
    row, obj = image * len(priors) + prior, matches[image, prior]
    weight = _weights(positive, spec.loss)
    target = encode(boxes[image, obj], priors[prior], spec.coder)
    distance = functional.smooth_l1_loss(offsets.index_select(0, row).float(), target, reduction="none").sum(1)
    localization = (distance * weight[image]).sum()
    if spec.activation == "softmax":
        negative = _hard_negatives(logits, positive, negative_ratio)
        column = torch.cat([labels[image, obj] + 1, torch.zeros_like(negative)])
        chosen = torch.cat([row, negative])
        entropy = functional.cross_entropy(logits.index_select(0, chosen).float(), column, reduction="none")
        classification = (entropy * weight[chosen // len(priors)]).sum()
    else:
        classification = _focal_loss(logits, row, labels[image, obj], weight, spec)
    return MultiBoxLoss(spec.loss.classification_weight * classification, localization)


def _weights(positive: Bool[Tensor, "n p"], spec: LossSpec) -> Float[Tensor, " n"]:
    """By what the summed loss of each image is multiplied; see `LossSpec.normalizer`."""
    counts = positive.sum(dim=1)
    if spec.normalizer == "positives_per_image":
        return torch.where(counts > 0, 1 / (counts.clamp(min=1) * len(counts)), 0.0)
    total = counts.clamp(min=1).sum() if spec.normalizer == "images" else counts.sum().clamp(min=1)
    return (1 / total).expand(len(counts))


def _focal_loss(
    logits: Float[Tensor, "rows columns"],
    row: Int[Tensor, " k"],
    label: Int[Tensor, " k"],
    weight: Float[Tensor, " n"],
    spec: ModelSpec,
) -> Float[Tensor, ""]:
    """Focal loss over all priors, the positives of which are `row` with the 0-based `label`, each image times `weight`.

    A background column is a target only where the spec says so; else it never learns.
    """
    learns = spec.background and spec.loss.background_learns
    seen = logits[:, int(spec.background and not learns) :].float()
    wanted = torch.zeros_like(seen)
    if learns:
        wanted[:, 0] = 1.0
        wanted[row, 0] = 0.0
    wanted[row, label + int(learns)] = 1.0
    loss = sigmoid_focal_loss(seen, wanted, alpha=spec.loss.focal_alpha, gamma=spec.loss.focal_gamma, reduction="none")
    total: Tensor = (loss.view(len(weight), -1).sum(1) * weight).sum()
    return total


@torch.no_grad()
def _hard_negatives(
    logits: Float[Tensor, "rows columns"], positive: Bool[Tensor, "n p"], ratio: float
) -> Int[Tensor, " k"]:
    """Rows of the negatives that are the worst taken for background, per image `ratio` times its positives.

    The loss of all priors is only ranked here, so no graph and no gradient of the size of the logits is made for it.
    """
    chunks = logits.split(max(1, _CHUNK // logits.shape[1]))
    loss = torch.cat([chunk.float().log_softmax(dim=1)[:, 0].neg() for chunk in chunks]).view_as(positive)
    negatives = positive.logical_not().sum(dim=1)
    wanted = (positive.sum(dim=1) * ratio).long().minimum(negatives)
    most = int(wanted.max()) if len(wanted) else 0
    hardest = loss.masked_fill_(positive, -torch.inf).topk(most, dim=1).indices
    first = torch.arange(len(positive), device=logits.device)[:, None] * positive.shape[1]
    return (hardest + first)[torch.arange(most, device=logits.device) < wanted[:, None]]
