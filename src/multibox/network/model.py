"""The network as one module: images -> logits and offsets of every prior, and nothing else."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from multibox.spec import ModelSpec


class Predictions(NamedTuple):
    """What the network says of every prior: raw class logits and encoded box offsets (dx, dy, dw, dh)."""

    logits: Float[Tensor, "n p columns"]
    offsets: Float[Tensor, "n p 4"]


class SSD(nn.Module):
    """Backbone, then pyramid or extras or neither, then head. Made by `network.build.build_model`.

    `priors` [p, 4] are cx, cy, w, h as fractions of the input; `level_sizes` counts the priors of each map.
    """

    priors: Tensor

    def __init__(
        self,
        spec: ModelSpec,
        backbone: nn.Module,
        fpn: nn.Module | None,
        extras: nn.Module | None,
        head: nn.Module,
        priors: Float[Tensor, "p 4"],
        level_sizes: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.spec = spec
        self.level_sizes = level_sizes
        self.backbone = backbone
        self.fpn = fpn
        self.extras = extras
        self.head = head
        # made from the spec, so it does not belong into checkpoints
        self.register_buffer("priors", priors, persistent=False)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Predictions:
        """Normalised images (`network.normalize.Normalize`) -> raw predictions, in training and in evaluation alike."""
        maps = self.backbone(images)
        if self.fpn is not None:
            maps = self.fpn(maps)
        if self.extras is not None:
            maps = self.extras(maps)
        logits, offsets = self.head(maps)
        return Predictions(logits, offsets)
