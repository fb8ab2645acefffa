"""MobileNetV1 of any width as a backbone: a strided 3x3, then 13 depthwise separable blocks, tapped by number."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from multibox.errors import ModelError
from multibox.network.layers import conv_block
from multibox.spec import BackboneSpec, NormSpec

_STEM = 32
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Output channels at width 1 and stride of every block (MobileNetV1 paper, table 1)."""


class MobileNetV1(nn.Module):
    """`channels` lists those of the taps, finest first; blocks after the last tap are left out."""

    def __init__(self, spec: BackboneSpec) -> None:
        """Raises `ModelError` for a tap that is no block's number."""
        super().__init__()
        known = [str(number) for number in range(1, len(_BLOCKS) + 1)]
        if not spec.taps or any(tap not in known for tap in spec.taps):
            raise ModelError(f"mobilenet_v1: taps are block numbers from 1 to {len(_BLOCKS)}, not {list(spec.taps)}")
        self.taps = {int(tap) for tap in spec.taps}
        widths = [int(channels * spec.width) for channels in (_STEM, *(channels for channels, _ in _BLOCKS))]

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

        self.stem = layer(3, widths[0], 3, 2, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(layer(inputs, inputs, 3, stride, inputs), layer(inputs, outputs, 1, 1, 1))
            for (_, stride), inputs, outputs in zip(_BLOCKS[: max(self.taps)], widths[:-1], widths[1:], strict=False)
        )
        self.channels = [widths[number] for number in sorted(self.taps)]

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """The tapped maps, finest first."""
        maps = []
        x = self.stem(x)
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number in self.taps:
                maps.append(x)
        return maps
