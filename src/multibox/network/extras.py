"""The levels after the backbone: each block halves the last map (SSD paper, figure 2)."""

from __future__ import annotations

from torch import Tensor, nn

from multibox.network.layers import Padding, activate, conv_block, init_normal, init_xavier
from multibox.network.squeeze import squeeze_excitation
from multibox.spec import Activation, ExtraBlock, ExtrasSpec, NormSpec


class Extras(nn.Module):
    """Appends one map per block to the maps it is given; `channels` lists those of all maps, the given ones first (less
    the last one where the spec says `consumes_last`)."""

    def __init__(
        self, spec: ExtrasSpec, in_channels: list[int], norm: NormSpec | None = None, padding: Padding = "torch"
    ) -> None:
        super().__init__()
        self.first: nn.Module | None = None
        outputs = [block.out for block in spec.blocks]
        self.consumes_last = spec.consumes_last
        self.channels = [*(in_channels[:-1] if self.consumes_last else in_channels), *outputs]
        if spec.first is not None:
            wider, self.channels[0] = spec.first, spec.first.channels
            self.first = conv_block(in_channels[0], wider.channels, 1, norm=wider.norm, activation=wider.activation)
        make = _Blocks(spec, norm or NormSpec(), spec.padding or padding).make
        inputs = [in_channels[-1], *outputs[:-1]]
        self.blocks = nn.ModuleList(make(c, block) for c, block in zip(inputs, spec.blocks, strict=True))
        if spec.kind == "conv":
            init_xavier(self)
        else:
            init_normal(self)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The given maps (less a consumed last one, the first one perhaps widened), then the new ones."""
        last, maps = maps[-1], list(maps[:-1] if self.consumes_last else maps)
        if self.first is not None:
            maps[0] = self.first(maps[0])
        for block in self.blocks:
            last = block(last)
            maps.append(last)
        return maps


class _Blocks:
    """Makes the blocks of one `ExtrasSpec`."""

    def __init__(self, spec: ExtrasSpec, norm: NormSpec, padding: Padding) -> None:
        self.spec, self.padding = spec, padding
        self.norm = norm if spec.kind != "conv" and spec.batch_norm else None
        self.activation: Activation = spec.activation or ("relu" if spec.kind == "conv" else "relu6")

    def make(self, inputs: int, block: ExtraBlock) -> nn.Sequential:
        """The block that `spec.kind` names."""
        if self.spec.kind == "separable":
            return self._separable(inputs, block)
        if self.spec.kind == "sandglass":
            return self._sandglass(inputs, block)
        layers = self._point(inputs, block.mid, self.activation), self._spatial(block.mid, block.out, block)
        return nn.Sequential(*layers) if self.spec.kind == "conv_norm" else nn.Sequential(*layers[0], *layers[1])

    def _separable(self, inputs: int, block: ExtraBlock) -> nn.Sequential:
        """1x1, depthwise k x k, 1x1 (SSDLite)."""
        depthwise = self._spatial(block.mid, block.mid, block, groups=block.mid)
        if self.spec.squeeze:
            depthwise = nn.Sequential(*depthwise[:-1], squeeze_excitation(block.mid), activate(self.activation))
        last = None if self.spec.linear_out else self.activation
        return nn.Sequential(
            self._point(inputs, block.mid, self.activation), depthwise, self._point(block.mid, block.out, last)
        )

    def _sandglass(self, inputs: int, block: ExtraBlock) -> nn.Sequential:
        """Depthwise k x k, 1x1 to the narrow middle without activation, 1x1 (MobileNeXt)."""
        return nn.Sequential(
            self._spatial(inputs, inputs, block, groups=inputs),
            self._point(inputs, block.mid, None),
            self._point(block.mid, block.out, self.activation),
        )

    def _point(self, inputs: int, outputs: int, activation: Activation | None) -> nn.Sequential:
        """A 1x1 convolution."""
        return conv_block(inputs, outputs, 1, norm=self.norm, activation=activation)

    def _spatial(self, inputs: int, outputs: int, block: ExtraBlock, groups: int = 1) -> nn.Sequential:
        """The k x k convolution of a block."""
        return conv_block(
            inputs,
            outputs,
            block.kernel,
            stride=block.stride,
            pad=block.padding,
            padding=self.padding,
            groups=groups,
            norm=self.norm,
            activation=self.activation,
        )
