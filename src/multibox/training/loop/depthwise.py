"""Depthwise convolutions that learn fast in bfloat16 on a CPU: forward in bfloat16, backward in float32.

oneDNN has no fast bfloat16 kernel for the gradients of most depthwise convolutions (5 x 5, or with a stride): they take
four to ten times as long as in float32, and more than half of a step of a mobile network.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn


def speed_up_depthwise(network: nn.Module) -> None:
    """Lets the network's depthwise convolutions learn so wherever the CPU's autocast to bfloat16 is on, in place.

    Their results are those of autocast; only gradients are of higher precision. Parameters and names stay.
    """
    for module in network.modules():
        if type(module) is nn.Conv2d and module.groups == module.in_channels > 1 and module.padding_mode == "zeros":
            module.forward = MethodType(_forward, module)  # type: ignore[method-assign]


def _forward(self: nn.Conv2d, x: Tensor) -> Tensor:
    """`nn.Conv2d.forward`; in training under the CPU's autocast by the mixed rule."""
    learns = self.training and self.weight.requires_grad and x.device.type == "cpu"
    if not (learns and torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16):
        return nn.Conv2d.forward(self, x)
    geometry = (self.stride, self.padding, self.dilation, self.groups)
    with torch.autocast("cpu", enabled=False):
        y: Tensor = _MixedConvolution.apply(x.bfloat16(), self.weight, geometry)
        return y if self.bias is None else y + self.bias.bfloat16().view(-1, 1, 1)


class _MixedConvolution(torch.autograd.Function):
    """A convolution without bias; input and result bfloat16, weights and their gradient float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, geometry: tuple[Any, ...]) -> Tensor:
        """The convolution with weights rounded to bfloat16."""
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        stride, padding, dilation, groups = geometry
        return torch.conv2d(x, weight.bfloat16(), None, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        """Gradients of the input, rounded to bfloat16, and of the weights."""
        x, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.geometry
        mask = [ctx.needs_input_grad[0], True, False]
        dx, dw, _ = torch.ops.aten.convolution_backward(
            gradient.float(), x.float(), weight.bfloat16().float(), None, stride, padding, dilation, False, [0, 0],
            groups, mask,
        )  # fmt: skip
        return dx.bfloat16() if mask[0] else None, dw, None
