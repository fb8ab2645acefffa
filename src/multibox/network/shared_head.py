"""The predictors that all levels share: towers of convolutions with one batch norm per level, then one 3x3 each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from multibox.errors import ModelError
from multibox.network.layers import conv3x3, flatten, init_normal, set_probability
from multibox.spec import HeadSpec, NormSpec

_INITIAL_STD = 0.01
"""Of TensorFlow's weight-shared predictors (RetinaNet)."""


class SharedOutput(NamedTuple):
    """What the head gives: raw logits, and offsets dx, dy, dw, dh; priors in the order level, y, x, shape."""

    logits: Float[Tensor, "n p columns"]
    offsets: Float[Tensor, "n p 4"]


class Tower(nn.Module):
    """A chain of 3x3 convolutions used on every level; only the batch norms after them belong to one level.

    Levels differ in how strong their features are, so statistics cannot be shared (object_detection,
    `WeightSharedConvolutionalBoxPredictor`, `apply_batch_norm` per feature map).
    """

    def __init__(self, spec: HeadSpec, channels: int, levels: int, norm: NormSpec) -> None:
        """`channels` go in, `spec.tower_channels` come out; `levels` sets of batch norms are made."""
        super().__init__()
        width = spec.tower_channels
        self.convs = nn.ModuleList(
            conv3x3(channels if i == 0 else width, width, separable=spec.separable_tower, bias=False)
            for i in range(spec.tower_depth)
        )
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm2d(width, norm.eps, norm.momentum) for _ in range(spec.tower_depth))
            for _ in range(levels)
        )

    def forward(self, maps: Sequence[Float[Tensor, "n _ _ _"]]) -> list[Float[Tensor, "n c _ _"]]:
        """One map per level -> one map of `tower_channels` per level, of the same sizes."""
        return [self._level(level, norms) for level, norms in zip(maps, self.norms, strict=True)]  # type: ignore[arg-type]

    def _level(self, level: Tensor, norms: nn.ModuleList) -> Tensor:
        """The whole chain on one level."""
        for conv, norm in zip(self.convs, norms, strict=True):
            level = F.relu6(norm(conv(level)))
        return level


class SharedHead(nn.Module):
    """Class and box predictors shared by all levels, after one tower each or (`shared_tower`) one for both.

    Source: object_detection, `WeightSharedConvolutionalBoxPredictor` (one tower for both is its
    `share_prediction_tower`, as in FPNLite). All levels must have as many channels and as many shapes per cell, or
    `ModelError` is raised.
    """

    def __init__(
        self,
        spec: HeadSpec,
        channels: Sequence[int],
        shapes_per_cell: Sequence[int],
        columns: int,
        norm: NormSpec,
    ) -> None:
        """`channels` and `shapes_per_cell` have one number per level; `columns` are those of the logits."""
        super().__init__()
        if len(set(channels)) != 1 or len(set(shapes_per_cell)) != 1:
            raise ModelError(
                f"a shared head needs levels with equal channels and shapes per cell, "
                f"not {list(channels)} and {list(shapes_per_cell)}"
            )
        shapes, levels = shapes_per_cell[0], len(channels)
        width = spec.tower_channels if spec.tower_depth else channels[0]
        self.columns = columns
        self.class_tower = Tower(spec, channels[0], levels, norm)
        self.box_tower = None if spec.shared_tower else Tower(spec, channels[0], levels, norm)
        self.class_predictor = conv3x3(width, shapes * columns, separable=spec.separable_tower, bias=True)
        self.box_predictor = conv3x3(width, shapes * 4, separable=spec.separable_tower, bias=True)
        init_normal(self, _INITIAL_STD)
        if spec.prior_probability is not None:
            set_probability(self.class_predictor, spec.prior_probability)

    def forward(self, maps: Sequence[Float[Tensor, "n _ _ _"]]) -> SharedOutput:
        """Maps from fine to coarse -> logits and offsets of all their priors."""
        class_maps = self.class_tower(maps)
        box_maps = class_maps if self.box_tower is None else self.box_tower(maps)
        logits = [flatten(self.class_predictor(level), self.columns) for level in class_maps]
        offsets = [flatten(self.box_predictor(level), 4) for level in box_maps]
        return SharedOutput(torch.cat(logits, dim=1), torch.cat(offsets, dim=1))
