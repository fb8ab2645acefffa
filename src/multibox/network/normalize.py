"""Pixels as stored -> the numbers that the network was trained on, as the first step inside the graph."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from multibox.spec import InputSpec


class Normalize(nn.Module):
    """uint8 RGB, channels last -> float, channels first, in the spec's colour order.

    `mean` and `std` of the spec are on the 0..255 scale and in its colour order: (x - mean) / std.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.bgr = spec.color == "bgr"
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: UInt8[Tensor, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
        """The network's input."""
        x = images.permute(0, 3, 1, 2).to(self.mean.dtype)
        if self.bgr:
            x = x.flip(1)
        return x.sub_(self.mean).div_(self.std)  # in place: fresh memory for each step takes most of the time
