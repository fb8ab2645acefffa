"""The feature pyramid of TensorFlow's SSD FPN models: taps of the backbone to maps of one width, then coarser ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from multibox.network.layers import conv3x3
from multibox.spec import FpnSpec, NormSpec

_INITIAL_STD = 0.03
"""Of TensorFlow's ssd_resnet50_v1_fpn and ssd_mobilenet_v2_fpnlite configurations."""


class FPN(nn.Module):
    """Lateral 1x1 convolutions, a top-down sum, a 3x3 convolution (batch norm, ReLU6) per sum, then stride-2 levels.

    Each sum takes in the coarser level's sum or, with `spec.carry` "smoothed", what its 3x3 made of it. With
    `spec.smooth_last` the coarsest lateral map is convolved too (MindCV); without it, it is handed on as it is
    and is itself the source of the first extra level (TensorFlow). Source: object_detection,
    `fpn_top_down_feature_maps` and `SSDMobileNetV2FpnKerasFeatureExtractor`; MindCV `examples/det/ssd`.
    """

    def __init__(self, spec: FpnSpec, in_channels: Sequence[int], norm: NormSpec) -> None:
        """`in_channels` are those of the taps, fine to coarse; `channels` afterwards those of all maps."""
        super().__init__()
        self.upsample = upsample_nearest if spec.upsample == "nearest" else upsample_bilinear
        self.carry = spec.carry
        width = spec.channels
        smoothed = len(in_channels) if spec.smooth_last else len(in_channels) - 1

        def block(stride: int) -> nn.Module:
            conv = conv3x3(width, width, stride=stride, separable=spec.separable, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(width, norm.eps, norm.momentum), nn.ReLU6(inplace=True))

        self.laterals = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in in_channels)
        self.smooths = nn.ModuleList(block(1) for _ in range(smoothed))
        self.extras = nn.ModuleList(block(2) for _ in range(spec.extra_levels))
        self.channels: list[int] = [width] * (len(in_channels) + spec.extra_levels)
        self.apply(_initialise)

    def forward(self, taps: Sequence[Float[Tensor, "n _ _ _"]]) -> list[Float[Tensor, "n c _ _"]]:
        """Taps from fine to coarse -> maps from fine to coarse, `extra_levels` more of them."""
        laterals = [lateral(tap) for lateral, tap in zip(self.laterals, taps, strict=True)]
        carried: Tensor | None = None
        maps: list[Tensor] = []
        for level in range(len(laterals) - 1, -1, -1):
            total = laterals[level]
            if carried is not None:
                total = total + self.upsample(carried, (total.shape[-2], total.shape[-1]))
            maps.insert(0, self.smooths[level](total) if level < len(self.smooths) else total)
            carried = maps[0] if self.carry == "smoothed" else total
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return maps


def upsample_nearest(coarse: Float[Tensor, "n c _ _"], size: tuple[int, int]) -> Float[Tensor, "n c h w"]:
    """Every cell repeated twice along both sides, fitted to `size` (height, width)."""
    return _fitted(F.interpolate(coarse, scale_factor=2.0, mode="nearest"), size)


def upsample_bilinear(coarse: Float[Tensor, "n c _ _"], size: tuple[int, int]) -> Float[Tensor, "n c h w"]:
    """TensorFlow 1's bilinear doubling, in which output cell i lies at i / 2 of the input, fitted to `size`.

    With the last row and column repeated once, that is the rule 'align corners' from h + 1 to 2 h + 1 cells.
    """
    height, width = coarse.shape[-2:]
    padded = F.pad(coarse, (0, 1, 0, 1), mode="replicate")
    doubled = F.interpolate(padded, size=(2 * height + 1, 2 * width + 1), mode="bilinear", align_corners=True)
    return _fitted(doubled, size)


def _fitted(doubled: Float[Tensor, "n c _ _"], size: tuple[int, int]) -> Float[Tensor, "n c h w"]:
    """The map cut to `size` (height, width), as where a backbone rounds halves up; where it rounds them down, with the
    last row and column repeated.
    """
    lacking = [max(0, wanted - has) for wanted, has in zip(size, doubled.shape[-2:], strict=True)]
    if any(lacking):
        doubled = F.pad(doubled, (0, lacking[1], 0, lacking[0]), mode="replicate")
    return doubled[..., : size[0], : size[1]]


def _initialise(module: nn.Module) -> None:
    """TensorFlow's initial values: a truncated normal for weights, zero for biases."""
    if isinstance(module, nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=_INITIAL_STD, a=-2 * _INITIAL_STD, b=2 * _INITIAL_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
