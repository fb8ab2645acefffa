"""MobileNetV1 of any width as a backbone: a strided 3x3, then depthwise separable blocks, tapped by number."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from multibox.network.layers import conv_block
from multibox.network.receptive_field import ReceptiveField
from multibox.network.taps import block_numbers, tapped_maps
from multibox.spec import BackboneSpec, NormSpec


class _Plan(NamedTuple):
    """Channels of the strided 3x3; output channels at width 1 and stride of every block."""

    stem: int
    blocks: tuple[tuple[int, int], ...]
    field: int | None = None
    """Number of the block whose place a receptive field block takes."""


_PAPER = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""MobileNetV1 paper, table 1."""
_FACES = (
    (32, 1), (32, 2), (32, 1), (64, 2), (64, 1), (64, 1), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1)
)  # fmt: skip
"""The trunk of the Ultra-Light face detector."""

PLANS = {
    "mobilenet_v1": _Plan(32, _PAPER),
    "mobilenet_v1_slim": _Plan(16, _FACES),
    "mobilenet_v1_rfb": _Plan(16, _FACES, field=7),
}
"""The networks that this file builds, by the name of the backbone."""


class MobileNetV1(nn.Module):
    """`channels` lists those of the taps, finest first; blocks after the last tap are left out."""

    def __init__(self, spec: BackboneSpec) -> None:
        """Raises `ModelError` for a tap that is no block's number."""
        super().__init__()
        plan = PLANS[spec.name]
        self.taps = block_numbers(spec, len(plan.blocks))
        full = (plan.stem, *(channels for channels, _ in plan.blocks))
        widths = [max(int(channels * spec.width), spec.min_channels) for channels in full]
        norm = NormSpec(eps=spec.norm_eps, momentum=spec.norm_momentum)

        def layer(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> nn.Module:
            return conv_block(
                inputs,
                outputs,
                kernel,
                stride=stride,
                padding="same" if spec.padding == "same" else "torch",
                groups=groups,
                norm=norm,
                activation=spec.activation or "relu6",
            )

        def block(number: int) -> nn.Module:
            inputs, outputs, stride = widths[number - 1], widths[number], plan.blocks[number - 1][1]
            if number == plan.field:
                return ReceptiveField(inputs, norm)
            return nn.Sequential(layer(inputs, inputs, 3, stride, inputs), layer(inputs, outputs, 1, 1, 1))

        self.stem = layer(3, widths[0], 3, 2, 1)
        self.blocks = nn.ModuleList(block(number) for number in range(1, max(self.taps) + 1))
        self.channels = [widths[number] for number in self.taps]

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """The tapped maps, finest first."""
        return tapped_maps(self.blocks, self.taps, self.stem(x))
