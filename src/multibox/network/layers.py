"""Small convolution blocks that extras and heads are made of."""

from __future__ import annotations

from typing import Literal

from timm.layers import create_conv2d
from torch import nn

Padding = Literal["torch", "same"]


def conv(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, pad: int, padding: Padding = "torch", groups: int = 1
) -> nn.Module:
    """A convolution with bias; `padding` "same" is TensorFlow's rule (uneven at stride 2) and overrides `pad`."""
    if padding == "same":
        same: nn.Module = create_conv2d(
            inputs, outputs, kernel, stride=stride, padding="same", groups=groups, bias=True
        )
        return same
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=pad, groups=groups)


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    pad: int | None = None,
    padding: Padding = "torch",
    groups: int = 1,
    eps: float,
    momentum: float,
) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU6; `pad` defaults to half the kernel."""
    amount: int | str = "same" if padding == "same" else kernel // 2 if pad is None else pad
    return nn.Sequential(
        create_conv2d(inputs, outputs, kernel, stride=stride, padding=amount, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=eps, momentum=momentum),
        nn.ReLU6(inplace=True),
    )


def init_normal(module: nn.Module, std: float = 0.03) -> None:
    """Weights of all convolutions ~ N(0, std), biases 0 (torchvision's and TensorFlow's SSDLite)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def init_xavier(module: nn.Module) -> None:
    """Weights of all convolutions Xavier uniform, biases 0 (Caffe's SSD and all that follow it)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
