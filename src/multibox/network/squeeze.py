"""Squeeze and excitation with the hard sigmoid of MobileNetV3, as torchvision builds it."""

from __future__ import annotations

from functools import partial

from torch import nn
from torchvision.ops.misc import SqueezeExcitation

_REDUCTION, _DIVISOR = 4, 8


def squeeze_excitation(channels: int) -> nn.Module:
    """Weights every channel by a gate of all channels' means; the middle has a quarter of them, a multiple of 8."""
    gate: nn.Module = SqueezeExcitation(
        channels, squeezed(channels), scale_activation=partial(nn.Hardsigmoid, inplace=True)
    )
    return gate


def squeezed(channels: int) -> int:
    """Channels in the middle (MobileNetV3's rule of rounding to a multiple of 8 that loses at most a tenth)."""
    wanted = channels // _REDUCTION
    rounded = max(_DIVISOR, (wanted + _DIVISOR // 2) // _DIVISOR * _DIVISOR)
    return rounded + _DIVISOR if rounded < 0.9 * wanted else rounded
