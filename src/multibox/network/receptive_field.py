"""The receptive field block: dilated convolutions side by side, as cells of the eye see near and far (RFB Net)."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from multibox.network.layers import conv_block
from multibox.spec import NormSpec

_REDUCTION = 8
_DILATIONS = (2, 3, 5)


class ReceptiveField(nn.Module):
    """Three branches with dilations 2, 3 and 5, joined by a 1x1 and added to a 1x1 of the input.

    A branch is 1x1 to an eighth of the channels, 3x3, dilated 3x3; the widest has two plain 3x3. Sizes stay.
    """

    def __init__(self, channels: int, norm: NormSpec) -> None:
        super().__init__()
        narrow = channels // _REDUCTION
        wide = 2 * narrow
        steps = ((narrow, wide), (narrow, wide), (narrow, narrow // 2 * 3, wide))
        self.branches = nn.ModuleList(
            nn.Sequential(
                conv_block(channels, narrow, 1, norm=norm, activation=None),
                *(conv_block(*pair, 3, norm=norm, activation="relu") for pair in pairwise(widths)),
                conv_block(wide, wide, 3, dilation=dilation, norm=norm, activation=None),
            )
            for widths, dilation in zip(steps, _DILATIONS, strict=True)
        )
        self.join = conv_block(len(_DILATIONS) * wide, channels, 1, norm=norm, activation=None)
        self.shortcut = conv_block(channels, channels, 1, norm=norm, activation=None)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The block's output."""
        seen = torch.cat([branch(x) for branch in self.branches], dim=1)
        return torch.relu(self.join(seen) + self.shortcut(x))
