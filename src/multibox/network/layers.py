"""Small blocks that extras, pyramid and heads are made of."""

from __future__ import annotations

import math
from typing import Literal

from jaxtyping import Float
from timm.layers import create_conv2d
from torch import Tensor, nn

from multibox.spec import Activation, NormSpec

Padding = Literal["torch", "same"]


_ACTIVATIONS: dict[Activation, type[nn.ReLU] | type[nn.ReLU6] | type[nn.Hardswish]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hard_swish": nn.Hardswish,
}


def activate(name: Activation) -> nn.Module:
    """The activation of that name, in place."""
    return _ACTIVATIONS[name](inplace=True)


def conv_block(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    pad: int | None = None,
    padding: Padding = "torch",
    groups: int = 1,
    dilation: int = 1,
    norm: NormSpec | None,
    activation: Activation | None = "relu6",
) -> nn.Sequential:
    """Convolution, batch norm, activation; without `norm` the convolution has a bias instead.

    `pad` defaults to half the (dilated) kernel; `padding` "same" is TensorFlow's rule (uneven at stride 2) and
    overrides it.
    """
    amount: int | str = "same" if padding == "same" else dilation * (kernel // 2) if pad is None else pad
    options = {"stride": stride, "padding": amount, "groups": groups, "dilation": dilation}
    layers: list[nn.Module] = [create_conv2d(inputs, outputs, kernel, **options, bias=norm is None)]
    if norm is not None:
        layers.append(nn.BatchNorm2d(outputs, eps=norm.eps, momentum=norm.momentum))
    if activation is not None:
        layers.append(activate(activation))
    return nn.Sequential(*layers)


def conv3x3(inputs: int, outputs: int, *, stride: int = 1, separable: bool, bias: bool) -> nn.Module:
    """A 3x3 convolution with TensorFlow's padding (`10 -> 5` pads 0 and 1); `separable`: a depthwise one, then a 1x1,
    of which only the 1x1 has the bias, with nothing between them.
    """
    groups, middle = (inputs, inputs) if separable else (1, outputs)
    spatial: nn.Module = create_conv2d(
        inputs, middle, 3, stride=stride, padding="same", groups=groups, bias=bias and not separable
    )
    return nn.Sequential(spatial, nn.Conv2d(inputs, outputs, 1, bias=bias)) if separable else spatial


def flatten(x: Float[Tensor, "n c h w"], numbers: int) -> Float[Tensor, "n p numbers"]:
    """A predictor's map, shape-major in its channels -> one row of `numbers` per prior."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, numbers)


def set_probability(predictor: nn.Module, probability: float) -> None:
    """Sets the bias of the last convolution so that a sigmoid of it starts at `probability` (RetinaNet paper, 4.1)."""
    last = [layer for layer in predictor.modules() if isinstance(layer, nn.Conv2d)][-1]
    assert last.bias is not None
    nn.init.constant_(last.bias, -math.log((1.0 - probability) / probability))


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
