"""MobileNeXt as a backbone: sandglass blocks, wide at both ends and narrow in the middle (Rethinking Bottleneck
Structure for Efficient Mobile Network Design, 2020).
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from multibox.errors import ModelError
from multibox.network.layers import conv_block
from multibox.spec import BackboneSpec, NormSpec

_STEM = 32


class _Row(NamedTuple):
    """One block of the published width-1 network."""

    outputs: int
    hidden: int
    stride: int = 1
    first: bool = True
    """Whether a depthwise 3x3 stands before the two 1x1."""
    last: bool = True
    """Whether a depthwise 3x3, which takes the stride, stands after them."""


_BLOCKS = (
    _Row(96, 16, stride=2),
    _Row(144, 32),
    _Row(192, 32, stride=2, first=False),
    *(_Row(192, 32),) * 2,
    _Row(288, 48, stride=2, first=False),
    *(_Row(288, 48),) * 2,
    _Row(384, 64, first=False, last=False),
    *(_Row(384, 64),) * 3,
    _Row(576, 96, stride=2, first=False),
    *(_Row(576, 96),) * 3,
    _Row(960, 160, first=False, last=False),
    *(_Row(960, 160),) * 2,
    _Row(1280, 208),
)
"""Blocks 1 to 20; block 0 is the strided 3x3 of the stem."""


class Sandglass(nn.Module):
    """Depthwise 3x3, 1x1 to the narrow middle without activation, 1x1, depthwise 3x3 without activation.

    The depthwise ones may be absent; a block that has both and changes neither channels nor size adds its input.
    """

    def __init__(self, inputs: int, row: _Row, norm: NormSpec) -> None:
        super().__init__()
        layers = [conv_block(inputs, inputs, 3, groups=inputs, norm=norm)] if row.first else []
        layers.append(conv_block(inputs, row.hidden, 1, norm=norm, activation=None))
        layers.append(conv_block(row.hidden, row.outputs, 1, norm=norm))
        self.wide = len(layers)
        """How many layers lead to the output of the second 1x1, the tap `INDEX.expand`."""
        if row.last:
            wide = row.outputs
            layers.append(conv_block(wide, wide, 3, stride=row.stride, groups=wide, norm=norm, activation=None))
        self.layers = nn.Sequential(*layers)
        self.adds_input = row.first and row.last and row.stride == 1 and inputs == row.outputs

    def forward(self, x: Float[Tensor, "n c h w"]) -> tuple[Tensor, Tensor]:
        """(the wide map after the second 1x1, the block's output)."""
        wide = self.layers[: self.wide](x)
        y = self.layers[self.wide :](wide)
        return wide, x + y if self.adds_input else y


class MobileNeXt(nn.Module):
    """The width-1 network up to its last tap: `INDEX` is a block's output, `INDEX.expand` its wide map."""

    def __init__(self, spec: BackboneSpec) -> None:
        """Raises `ModelError` for a tap that is none, and for what this backbone does not have."""
        super().__init__()
        if spec.padding != "torch" or spec.width != 1.0 or spec.activation is not None:
            raise ModelError("backbone 'mobilenext' has one width, torch's padding and ReLU6")
        self.taps = [_parse(tap) for tap in spec.taps]
        norm = NormSpec(eps=spec.norm_eps, momentum=spec.norm_momentum)
        last = max(index for index, _ in self.taps)
        widths = [_STEM, *(row.outputs for row in _BLOCKS)]
        stem = conv_block(3, _STEM, 3, stride=2, norm=norm)
        blocks = [Sandglass(*pair, norm) for pair in zip(widths[:last], _BLOCKS[:last], strict=True)]
        self.features = nn.ModuleList([stem, *blocks])
        self.channels = [widths[index] for index, _ in self.taps]
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """The tapped maps in the order of the network."""
        maps = []
        stem, *blocks = self.features
        x = stem(x)
        for index, block in enumerate(blocks, start=1):
            wide, x = block(x)
            maps += [wide] * ((index, True) in self.taps) + [x] * ((index, False) in self.taps)
        return maps


def _parse(tap: str) -> tuple[int, bool]:
    """(index, whether its wide map) of `13` or `13.expand`."""
    number, _, inside = tap.partition(".")
    if not number.isdigit() or not 1 <= int(number) <= len(_BLOCKS) or inside not in ("", "expand"):
        raise ModelError(f"backbone 'mobilenext' has no tap '{tap}'; give 1 to {len(_BLOCKS)}, or 'INDEX.expand'")
    return int(number), inside == "expand"
