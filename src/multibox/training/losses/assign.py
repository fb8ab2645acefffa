"""Which object each prior learns, by the assigner that the rules name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from multibox.boxes.aligned import match_aligned
from multibox.boxes.atss import match_atss
from multibox.boxes.coding import decode
from multibox.boxes.matching import match
from multibox.boxes.priors import shapes_per_cell
from multibox.spec import ModelSpec
from multibox.training.losses.rules import LossRules


@torch.no_grad()
def assign(
    predictions: tuple[Float[Tensor, "n p columns"], Float[Tensor, "n p 4"]],
    boxes: Float[Tensor, "n g 4"],
    labels: Int[Tensor, "n g"],
    valid: Bool[Tensor, "n g"],
    priors: Float[Tensor, "p 4"],
    *,
    spec: ModelSpec,
    rules: LossRules,
    level_sizes: Sequence[int],
) -> Int[Tensor, "n p"]:
    """Index of the object that each prior learns, -1 for background; see `losses.multibox_loss`."""
    if rules.assigner == "atss":
        per_cell = [shapes_per_cell(level) for level in spec.priors.levels]
        levels = list(zip(level_sizes, per_cell, strict=True))
        return match_atss(boxes, valid, priors, levels, (spec.input.height, spec.input.width))
    if rules.assigner == "aligned":
        logits, offsets = (tensor.detach().float() for tensor in predictions)
        scores = (logits.softmax(-1) if spec.activation == "softmax" else logits.sigmoid())[..., int(spec.background) :]
        return match_aligned(boxes, labels, valid, priors, scores, decode(offsets, priors, spec.coder))
    rule = spec.matching if rules.assigner == "sheet" else replace(spec.matching, best_prior=rules.assigner)
    return match(boxes, valid, priors, rule, spec.matching_size)
