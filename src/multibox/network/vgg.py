"""VGG16 as SSD uses it: without its classifier, fc6 and fc7 as (dilated) convolutions, conv4_3 normalised."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from multibox.errors import ModelError
from multibox.network.layers import init_xavier
from multibox.spec import BackboneSpec, InputSpec

_PLAN: tuple[int | str, ...] = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)
_TAPS = {"conv4_3": (22, 512), "fc7": (34, 1024)}
"""Tap -> index of the layer (its ReLU) whose output it is, and channels."""


class L2Norm(nn.Module):
    """Scales the channel vector of every cell to length `scale`, learnt per channel (ParseNet; SSD paper, 3.1)."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """`scale * x / |x|` along the channels."""
        length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(1e-12)
        return x / length * self.scale.view(1, -1, 1, 1)


class VGG16Atrous(nn.Module):
    """The trunk of SSD300 and SSD512. `layers` keeps Caffe's and amdegroot's numbering: conv1_1 is 0, fc7 is 33."""

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        unknown = [tap for tap in spec.taps if tap not in _TAPS]
        if unknown:
            raise ModelError(f"backbone 'vgg16_atrous' has no tap '{unknown[0]}'; it has {', '.join(_TAPS)}")
        self.taps = [_TAPS[tap][0] for tap in spec.taps]
        self.channels = [_TAPS[tap][1] for tap in spec.taps]
        self.layers = nn.ModuleList(_layers(spec.pool_ceil))
        self.first_norm = _first_norm(spec, self.channels[0])
        for layer in self.layers[:31]:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        init_xavier(self.layers[31:])

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """The tapped maps, finest first; only the first one is normalised, and its plain values go on."""
        maps: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.taps:
                maps.append(x if maps else self.first_norm(x))
        return maps

    def load_imagenet(self, features: dict[str, Tensor]) -> None:
        """Takes conv1_1 to conv5_3 from the keys `INDEX.weight`, `INDEX.bias` of a VGG16; fc6 and fc7 stay."""
        self.layers[:29].load_state_dict(features)

    @torch.no_grad()
    def adapt_input(self, spec: InputSpec) -> None:
        """Makes the first convolution of published weights, which are for RGB pixels of 0..255 less a mean, fit inputs
        of the sheet's colour order and scale.
        """
        first = self.layers[0]
        assert isinstance(first, nn.Conv2d)
        weight = first.weight.flip(1) if spec.color == "bgr" else first.weight
        first.weight.copy_(weight * weight.new_tensor(spec.std).view(1, 3, 1, 1))


def _first_norm(spec: BackboneSpec, channels: int) -> nn.Module:
    """What the first tap goes through on its way to the head."""
    if spec.first_batch_norm:
        return nn.BatchNorm2d(channels, eps=spec.norm_eps, momentum=spec.norm_momentum)
    return nn.Identity() if spec.l2norm is None else L2Norm(channels, spec.l2norm)


def _layers(pool_ceil: str) -> list[nn.Module]:
    """conv1_1 (0) to the ReLU after fc7 (34)."""
    layers: list[nn.Module] = []
    channels, pools = 3, 0
    for step in _PLAN:
        if isinstance(step, int):
            layers += [nn.Conv2d(channels, step, 3, padding=1), nn.ReLU(inplace=True)]
            channels = step
        else:
            pools += 1
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=pool_ceil in ("all", f"pool{pools}")))
    layers.append(nn.MaxPool2d(3, 1, padding=1))
    layers += [nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU(inplace=True)]
    return [*layers, nn.Conv2d(1024, 1024, 1), nn.ReLU(inplace=True)]
