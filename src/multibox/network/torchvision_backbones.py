"""torchvision's MobileNets as backbones, tapped at a block's output or inside a block, at its expansion."""

from __future__ import annotations

from functools import partial
from typing import Any

import torchvision
from jaxtyping import Float
from timm.layers import create_conv2d
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from multibox.errors import ModelError, did_you_mean
from multibox.network.layers import init_normal
from multibox.spec import BackboneSpec

_NAMES = ("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small")


class TorchvisionBackbone(nn.Module):
    """The layers of `torchvision.models.NAME().features` up to the last tap, under the same keys `features.*`."""

    def __init__(self, name: str, spec: BackboneSpec) -> None:
        super().__init__()
        if name not in _NAMES:
            raise ModelError(f"no torchvision backbone '{name}'{did_you_mean(name, _NAMES)}; timm/NAME gives others")
        if spec.padding == "same_pool":
            raise ModelError(f"backbone 'torchvision/{name}' has no pooling to pad by '{spec.padding}'")
        norm = partial(nn.BatchNorm2d, eps=spec.norm_eps, momentum=spec.norm_momentum)
        # only the third generation has the switch for a tail of half width (MobileNetV3 paper, table 6)
        tail = {"reduced_tail": spec.reduced_tail} if "v3" in name else {}
        sizes = {"width_mult": spec.width, **tail}
        features = torchvision.models.get_model(name, weights=None, norm_layer=norm, **sizes).features
        self.width = spec.width
        self.squeezes_early = spec.squeeze == "before_activation"
        if self.squeezes_early:
            _squeeze_early(features, name)
        if spec.padding != "torch":
            _pad_same(features, depthwise_only=spec.padding == "same_depthwise")
        self.taps = [_parse(tap, len(features), name) for tap in spec.taps]
        self.features = features[: max(index for index, _ in self.taps) + 1]
        init_normal(self.features)
        self.channels = [self._channels(index, inside) for index, inside in self.taps]

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """The tapped maps in the order of the network."""
        maps: list[Tensor] = []
        for index, block in enumerate(self.features):
            if (index, True) in self.taps:
                expanded, x = _run_split(block, x)
                maps.append(expanded)
            else:
                x = block(x)
            if (index, False) in self.taps:
                maps.append(x)
        return maps

    def load_imagenet(self, features: dict[str, Tensor]) -> None:
        """Takes every tensor whose shape agrees; a reduced tail keeps its own start, as nothing is published for it.

        Raises `ModelError` where the published network is wider or squeezes elsewhere than this one.
        """
        if self.width != 1.0:
            raise ModelError(f"nothing is published for width {self.width:g}; train without a pretrained backbone")
        if self.squeezes_early:
            raise ModelError(
                "torchvision's ImageNet weights squeeze after the activation; "
                "leave 'backbone.squeeze' at that, or train without a pretrained backbone"
            )
        own = self.features.state_dict()
        fitting = {k: v for k, v in features.items() if k in own and own[k].shape == v.shape}
        self.features.load_state_dict(fitting, strict=False)

    def _channels(self, index: int, inside: bool) -> int:
        """Channels of a tap, read from the convolution that makes it."""
        block = self.features[index]
        part = _parts(block)[0] if inside else block
        convolutions = [layer for layer in part.modules() if isinstance(layer, nn.Conv2d)]
        return convolutions[-1].out_channels


def _parse(tap: str, count: int, name: str) -> tuple[int, bool]:
    """(index, whether inside the block) of `13` or `13.expand`."""
    number, _, inside = tap.partition(".")
    if not number.isdigit() or int(number) >= count or inside not in ("", "expand"):
        raise ModelError(f"backbone 'torchvision/{name}' has no tap '{tap}'; give 0 to {count - 1}, or 'INDEX.expand'")
    return int(number), inside == "expand"


def _parts(block: nn.Module) -> nn.Sequential:
    """The layers of an inverted residual: expansion, depthwise, (squeeze,) projection."""
    parts = getattr(block, "block", None) or getattr(block, "conv", None)
    if not isinstance(parts, nn.Sequential) or len(parts) < 3:
        raise ModelError("tap '.expand' needs an inverted residual block with an expansion")
    return parts


def _run_split(block: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """(the expansion, the block's output)."""
    parts = _parts(block)
    expanded = parts[0](x)
    y = parts[1:](expanded)
    return expanded, x + y if getattr(block, "use_res_connect", False) else y


def _squeeze_early(features: nn.Sequential, name: str) -> None:
    """Moves every squeeze-and-excitation between the norm and the activation of the depthwise convolution before it:
    a block's layers become expansion, depthwise with the gate inside it, projection.
    """
    rows: list[Any] = [getattr(block, "block", ()) for block in features]
    gated = [row for row in rows if any(isinstance(layer, SqueezeExcitation) for layer in row)]
    if not gated:
        raise ModelError(f"backbone 'torchvision/{name}' has no squeeze-and-excitation to place")
    for row in gated:
        gate = next(place for place, layer in enumerate(row) if isinstance(layer, SqueezeExcitation))
        depthwise = row[gate - 1]
        depthwise.insert(len(depthwise) - 1, row.pop(gate))


def _pad_same(features: nn.Sequential, *, depthwise_only: bool) -> None:
    """Gives strided convolutions, or the depthwise ones among them, TensorFlow's padding; others have it already."""
    for layer in list(features.modules()):
        for name, conv in layer.named_children():
            if not isinstance(conv, nn.Conv2d) or conv.stride == (1, 1) or (depthwise_only and conv.groups == 1):
                continue
            sizes = (conv.in_channels, conv.out_channels, conv.kernel_size)
            setattr(layer, name, create_conv2d(*sizes, stride=2, padding="same", groups=conv.groups, bias=False))
