"""MindCV's SSD on MobileNetV3 large, written from its description: random parameters, and what it computes.

There is no fixture of it; so it stands here a second time, in plain torch on tensors under MindCV's own names.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCKS = (  # kernel, expansion, output, squeeze, hard swish, stride
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
_SQUEEZED = {72: 24, 120: 32, 480: 120, 672: 168, 960: 240}
_EXTRAS = ((960, 192, 512), (512, 128, 256), (256, 128, 256), (256, 64, 128))
_CHANNELS, _SHAPES = (672, 960, 512, 256, 256, 128), (3, 6, 6, 6, 6, 6)
_FIRST_TAP = 12
_NET = "backbone_wrapper.backbone.net.features_"


class MindCV:
    """Runs the network; the parameters that it meets and has not are made."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.state: dict[str, Tensor] = {}
        self.random = torch.Generator().manual_seed(0)

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(logits, offsets as dy, dx, dh, dw) of an image [n, 3, 300, 300]."""
        maps = self.extras(*self.backbone(image))
        boxes = [self.predictor("loc", level, x, 4) for level, x in enumerate(maps)]
        classes = [self.predictor("cls", level, x, self.columns) for level, x in enumerate(maps)]
        return torch.cat(classes, 1), torch.cat(boxes, 1)

    def backbone(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The two tapped maps."""
        x = F.hardswish(self.norm(f"{_NET}1", F.conv2d(x, self.weight(f"{_NET}0", 16, 3, 3), None, 2, 1), 1e-5))
        for number, block in enumerate(_BLOCKS, start=1):
            x = self.block(f"{_NET}{number + 2}.layers", x, *block)
            if number == _FIRST_TAP:
                first = x
        return first, F.hardswish(self.norm(f"{_NET}19", self.conv(f"{_NET}18", x, 960, 1), 1e-5))

    def block(
        self, key: str, x: Tensor, kernel: int, wide: int, out: int, gate: bool, swish: bool, stride: int
    ) -> Tensor:
        """An inverted residual, the depthwise convolution padded 'same'."""
        act, y, at = F.hardswish if swish else F.relu, x, 0
        if x.shape[1] != wide:
            y, at = act(self.norm(f"{key}.1", self.conv(f"{key}.0", y, wide, 1), 1e-5)), 3
        y = act(self.norm(f"{key}.{at + 1}", self.conv(f"{key}.{at}", y, wide, kernel, stride, wide), 1e-5))
        at += 3
        if gate:
            small = self.conv(f"{key}.{at}.conv_reduce", y.mean((2, 3), keepdim=True), _SQUEEZED[wide], 1, bias=True)
            y = y * F.hardsigmoid(self.conv(f"{key}.{at}.conv_expand", small.relu(), wide, 1, bias=True))
            at += 1
        y = self.norm(f"{key}.{at + 1}", self.conv(f"{key}.{at}", y, out, 1), 1e-5)
        return x + y if x.shape == y.shape else y

    def extras(self, first: Tensor, last: Tensor) -> list[Tensor]:
        """The six maps that have predictors."""
        key = "backbone_wrapper.feature1_expand_layer"
        maps = [F.hardswish(self.norm(f"{key}.1", self.conv(f"{key}.0", first, 672, 1), 1e-5)), last]
        for number, (_, middle, out) in enumerate(_EXTRAS):
            key, x = f"backbone_wrapper.multi_residual.{number}.conv", maps[-1]
            x = F.relu6(self.norm(f"{key}.0.features.1", self.conv(f"{key}.0.features.0", x, middle, 1), 1e-3))
            x = self.conv(f"{key}.1.features.0", x, middle, 3, 2, middle)
            x = F.relu6(self.norm(f"{key}.1.features.1", x, 1e-3))
            maps.append(F.relu6(self.norm(f"{key}.3", self.conv(f"{key}.2", x, out, 1), 1e-3)))
        return maps

    def predictor(self, kind: str, level: int, x: Tensor, numbers: int) -> Tensor:
        """Class or box numbers of the priors of one map, cell by cell."""
        key, channels = f"multi_box.multi_{kind}_layers.{level}", _CHANNELS[level]
        x = F.relu6(self.norm(f"{key}.1", self.conv(f"{key}.0", x, channels, 3, 1, channels), 1e-3))
        x = self.conv(f"{key}.3", x, _SHAPES[level] * numbers, 1, bias=True)
        return x.permute(0, 2, 3, 1).reshape(len(x), -1, numbers)

    def conv(
        self, key: str, x: Tensor, out: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> Tensor:
        """A convolution padded so that the map becomes input / stride, rounded up; an odd pixel is at the far side."""
        pads = []
        for side in (x.shape[3], x.shape[2]):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [total // 2, total - total // 2]
        weight = self.weight(key, out, x.shape[1] // groups, kernel)
        return F.conv2d(F.pad(x, pads), weight, self.draw(f"{key}.bias", out) if bias else None, stride, groups=groups)

    def norm(self, key: str, x: Tensor, eps: float) -> Tensor:
        """Batch norm as it is while not training; its statistics are those of the first map that it meets."""
        if f"{key}.moving_mean" not in self.state:
            self.state[f"{key}.moving_mean"] = x.mean((0, 2, 3))
            self.state[f"{key}.moving_variance"] = x.var((0, 2, 3), correction=0) + 0.1
        mean, variance = self.state[f"{key}.moving_mean"], self.state[f"{key}.moving_variance"]
        gamma, beta = (self.draw(f"{key}.{name}", x.shape[1]) for name in ("gamma", "beta"))
        return F.batch_norm(x, mean, variance, gamma, beta, False, 0.0, eps)

    def weight(self, key: str, out: int, inputs: int, kernel: int) -> Tensor:
        """The kernel of a convolution."""
        return self.draw(f"{key}.weight", out, inputs, kernel, kernel)

    def draw(self, key: str, *shape: int) -> Tensor:
        """The parameter of that name, made at its first use."""
        if key not in self.state:
            value = torch.randn(shape, generator=self.random)
            if key.endswith("gamma"):
                value = 0.5 + value.abs()
            elif key.endswith("weight"):
                value = value * (2 / value[0].numel()) ** 0.5
            self.state[key] = value
        return self.state[key]
