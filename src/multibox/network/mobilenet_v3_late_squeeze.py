"""A MobileNetV3 whose squeeze-and-excitation stands after the projection of a block and has batch norms (qfgaohao).

Besides, its blocks add their input at stride 1 even where channels change (through a 1x1), its first block has an
expansion, and its large size strides one block later than the paper's (MobileNetV3 paper, tables 1 and 2).
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from multibox.errors import ModelError
from multibox.network.layers import conv_block
from multibox.network.taps import block_numbers, tapped_maps
from multibox.spec import Activation, BackboneSpec, NormSpec

_STEM = 16
_REDUCTION = 4


class _Row(NamedTuple):
    """One inverted residual: depthwise kernel, channels of the expansion and of the output."""

    kernel: int
    hidden: int
    outputs: int
    activation: Activation
    squeeze: bool
    stride: int


class _Plan(NamedTuple):
    """All blocks, and the channels of the 1x1 convolution after them."""

    blocks: tuple[_Row, ...]
    last: int


PLANS = {
    "mobilenet_v3_large_late_squeeze": _Plan(
        blocks=(
            _Row(3, 16, 16, "relu", False, 1),
            _Row(3, 64, 24, "relu", False, 2),
            _Row(3, 72, 24, "relu", False, 1),
            _Row(5, 72, 40, "relu", True, 2),
            _Row(5, 120, 40, "relu", True, 1),
            _Row(5, 120, 40, "relu", True, 1),
            _Row(3, 240, 80, "hard_swish", False, 2),
            _Row(3, 200, 80, "hard_swish", False, 1),
            _Row(3, 184, 80, "hard_swish", False, 1),
            _Row(3, 184, 80, "hard_swish", False, 1),
            _Row(3, 480, 112, "hard_swish", True, 1),
            _Row(3, 672, 112, "hard_swish", True, 1),
            _Row(5, 672, 160, "hard_swish", True, 1),
            _Row(5, 672, 160, "hard_swish", True, 2),
            _Row(5, 960, 160, "hard_swish", True, 1),
        ),
        last=960,
    ),
    "mobilenet_v3_small_late_squeeze": _Plan(
        blocks=(
            _Row(3, 16, 16, "relu", True, 2),
            _Row(3, 72, 24, "relu", False, 2),
            _Row(3, 88, 24, "relu", False, 1),
            _Row(5, 96, 40, "hard_swish", True, 2),
            _Row(5, 240, 40, "hard_swish", True, 1),
            _Row(5, 240, 40, "hard_swish", True, 1),
            _Row(5, 120, 48, "hard_swish", True, 1),
            _Row(5, 144, 48, "hard_swish", True, 1),
            _Row(5, 288, 96, "hard_swish", True, 2),
            _Row(5, 576, 96, "hard_swish", True, 1),
            _Row(5, 576, 96, "hard_swish", True, 1),
        ),
        last=576,
    ),
}
"""The networks that this file builds, by the name of the backbone."""


class LateSqueezeBlock(nn.Module):
    """1x1, depthwise k x k, 1x1 without activation, squeeze-and-excitation; at stride 1 the input is added."""

    def __init__(self, inputs: int, row: _Row, norm: NormSpec) -> None:
        super().__init__()
        hidden, act = row.hidden, row.activation
        self.expand = conv_block(inputs, hidden, 1, norm=norm, activation=act)
        self.depthwise = conv_block(
            hidden, hidden, row.kernel, stride=row.stride, groups=hidden, norm=norm, activation=act
        )
        self.project = conv_block(hidden, row.outputs, 1, norm=norm, activation=None)
        self.gate = _gate(row.outputs, norm) if row.squeeze else None
        self.adds_input = row.stride == 1
        self.shortcut: nn.Module = nn.Identity()
        if self.adds_input and inputs != row.outputs:
            self.shortcut = conv_block(inputs, row.outputs, 1, norm=norm, activation=None)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d k l"]:
        """The block's output."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        if self.gate is not None:
            y = y * self.gate(y)
        return y + self.shortcut(x) if self.adds_input else y


class MobileNetV3LateSqueeze(nn.Module):
    """The network up to its last tap; taps are the numbers of its blocks from 1 on, the final 1x1 being the last."""

    def __init__(self, spec: BackboneSpec) -> None:
        """Raises `ModelError` for a tap that is no block's number, and for what this backbone does not have."""
        super().__init__()
        if spec.padding != "torch" or spec.width != 1.0 or spec.activation is not None:
            raise ModelError(f"backbone '{spec.name}' has one width, torch's padding and activations of its own")
        plan, norm = PLANS[spec.name], NormSpec(eps=spec.norm_eps, momentum=spec.norm_momentum)
        self.taps = block_numbers(spec, len(plan.blocks) + 1)
        widths = [_STEM, *(row.outputs for row in plan.blocks), plan.last]
        blocks = [LateSqueezeBlock(inputs, row, norm) for inputs, row in zip(widths, plan.blocks, strict=False)]
        last = conv_block(widths[-2], plan.last, 1, norm=norm, activation="hard_swish")
        self.stem = conv_block(3, _STEM, 3, stride=2, norm=norm, activation="hard_swish")
        self.blocks = nn.ModuleList([*blocks, last][: max(self.taps)])
        self.channels = [widths[number] for number in self.taps]
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """The tapped maps, finest first."""
        return tapped_maps(self.blocks, self.taps, self.stem(x))


def _gate(channels: int, norm: NormSpec) -> nn.Sequential:
    """A weight from 0 to 1 for every channel, made of all channels' means."""
    middle = channels // _REDUCTION
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        conv_block(channels, middle, 1, norm=norm, activation="relu"),
        conv_block(middle, channels, 1, norm=norm, activation=None),
        nn.Hardsigmoid(),
    )
