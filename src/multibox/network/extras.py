"""The levels after the backbone: each block halves the last map (SSD paper, figure 2)."""

from __future__ import annotations

from torch import Tensor, nn

from multibox.network.layers import Padding, conv, conv_norm, init_normal, init_xavier
from multibox.spec import ExtraBlock, ExtrasSpec


class Extras(nn.Module):
    """Appends one map per block to the maps it is given; `channels` lists those of all maps, the given ones first."""

    def __init__(
        self,
        spec: ExtrasSpec,
        in_channels: list[int],
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        padding: Padding = "torch",
    ) -> None:
        super().__init__()
        self.channels = [*in_channels, *(block.out for block in spec.blocks)]
        self.blocks = nn.ModuleList()
        for inputs, block in zip(self.channels[len(in_channels) - 1 : -1], spec.blocks, strict=True):
            if spec.kind == "conv":
                layers = _conv_block(inputs, block, padding)
            else:
                layers = _norm_block(inputs, block, padding, norm_eps, norm_momentum, spec.kind == "separable")
            self.blocks.append(layers)
        if spec.kind == "conv":
            init_xavier(self.blocks)
        else:
            init_normal(self.blocks)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The given maps, then the new ones."""
        maps = list(maps)
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return maps


def _conv_block(inputs: int, block: ExtraBlock, padding: Padding) -> nn.Sequential:
    """1x1, then k x k, both with bias and ReLU (Caffe)."""
    return nn.Sequential(
        conv(inputs, block.mid, 1, pad=0),
        nn.ReLU(inplace=True),
        conv(block.mid, block.out, block.kernel, stride=block.stride, pad=block.padding, padding=padding),
        nn.ReLU(inplace=True),
    )


def _norm_block(
    inputs: int, block: ExtraBlock, padding: Padding, eps: float, momentum: float, separable: bool
) -> nn.Sequential:
    """1x1, then k x k, each with batch norm and ReLU6 (TensorFlow); the k x k may be depthwise and 1x1 (SSDLite)."""
    mid, outputs = block.mid, block.mid if separable else block.out
    large = conv_norm(
        mid,
        outputs,
        block.kernel,
        stride=block.stride,
        pad=block.padding,
        padding=padding,
        groups=mid if separable else 1,
        eps=eps,
        momentum=momentum,
    )
    layers = [conv_norm(inputs, mid, 1, eps=eps, momentum=momentum), large]
    if separable:
        layers.append(conv_norm(mid, block.out, 1, eps=eps, momentum=momentum))
    return nn.Sequential(*layers)
