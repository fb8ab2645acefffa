"""A 3x3 convolution, plain or depthwise separable, with TensorFlow's 'same' padding: what FPN and shared head are made of."""

from __future__ import annotations

from timm.layers import create_conv2d
from torch import nn

KERNEL = 3


def same_conv(in_channels: int, out_channels: int, *, stride: int = 1, separable: bool, bias: bool) -> nn.Module:
    """The convolution; `separable` gives `Sequential(depthwise, pointwise)`, of which only the last has the bias.

    At stride 2 an even side is padded at the right and bottom only, as TensorFlow does (`10 -> 5` pads 0 and 1).
    """
    if not separable:
        plain: nn.Module = create_conv2d(in_channels, out_channels, KERNEL, stride=stride, padding="same", bias=bias)
        return plain
    depthwise = create_conv2d(
        in_channels, in_channels, KERNEL, stride=stride, padding="same", depthwise=True, bias=False
    )
    return nn.Sequential(depthwise, nn.Conv2d(in_channels, out_channels, 1, bias=bias))
