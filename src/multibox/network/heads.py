"""Class and box predictors with weights of their own for every level."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from multibox.network.layers import conv_block, flatten, init_normal, init_xavier, set_probability
from multibox.network.shared_head import SharedHead
from multibox.spec import HeadSpec, ModelSpec, NormSpec


class LevelHead(nn.Module):
    """One class and one box predictor per level: a convolution, or a depthwise one and a 1x1 (SSDLite)."""

    def __init__(
        self,
        spec: HeadSpec,
        channels: Sequence[int],
        shapes_per_cell: Sequence[int],
        columns: int,
        norm: NormSpec | None = None,
    ) -> None:
        super().__init__()
        self.columns = columns
        separable = spec.kind == "separable"
        last = len(channels) - 1

        def predictors(numbers: int) -> nn.ModuleList:
            pairs = zip(channels, shapes_per_cell, strict=True)
            return nn.ModuleList(
                _separable(c, a * numbers, (norm or NormSpec()) if spec.batch_norm else None)
                if separable and not (spec.plain_last and level == last)
                else nn.Conv2d(c, a * numbers, spec.kernel, spec.stride, padding=spec.kernel // 2)
                for level, (c, a) in enumerate(pairs)
            )

        self.classes = predictors(columns)
        self.boxes = predictors(4)
        if separable:
            init_normal(self)
        else:
            init_xavier(self)
        if spec.prior_probability is not None:
            for predictor in self.classes:
                set_probability(predictor, spec.prior_probability)

    def forward(self, maps: list[Tensor]) -> tuple[Float[Tensor, "n p columns"], Float[Tensor, "n p 4"]]:
        """(logits, offsets) of all priors: level by level, row by row, cell by cell, shape by shape."""
        logits = [flatten(layer(m), self.columns) for layer, m in zip(self.classes, maps, strict=True)]
        offsets = [flatten(layer(m), 4) for layer, m in zip(self.boxes, maps, strict=True)]
        return torch.cat(logits, dim=1), torch.cat(offsets, dim=1)


def make_head(
    spec: HeadSpec,
    channels: Sequence[int],
    shapes_per_cell: Sequence[int],
    columns: int,
    norm: NormSpec,
) -> nn.Module:
    """The head that `spec.kind` names: maps -> (logits [n,p,columns], offsets [n,p,4])."""
    if spec.kind == "shared":
        return SharedHead(spec, channels, shapes_per_cell, columns, norm)
    return LevelHead(spec, channels, shapes_per_cell, columns, norm)


def expect_background(head: nn.Module, spec: ModelSpec, probability: float) -> None:
    """Sets the biases of the class predictors so that each prior starts as an object with this probability.

    Without it the many easy negatives drown all else at first in a loss that counts them (RetinaNet paper, 4.1).
    """
    rare = math.log((1 - probability) / probability)
    assert isinstance(head, LevelHead | SharedHead)
    for predictor in head.classes if isinstance(head, LevelHead) else (head.class_predictor,):
        bias = [layer for layer in predictor.modules() if isinstance(layer, nn.Conv2d)][-1].bias
        assert bias is not None
        columns = bias.detach().view(-1, spec.columns)
        if spec.activation == "softmax":
            columns.zero_()[:, 0] = rare + math.log(spec.columns - 1)
        else:
            columns.fill_(-rare)[:, : int(spec.background)] = rare


def _separable(inputs: int, outputs: int, norm: NormSpec | None) -> nn.Sequential:
    """Depthwise 3x3 with batch norm and ReLU6 (without norm: bias and ReLU), then 1x1 with bias."""
    depthwise = conv_block(inputs, inputs, 3, groups=inputs, norm=norm, activation="relu6" if norm else "relu")
    return nn.Sequential(depthwise, nn.Conv2d(inputs, outputs, 1))
