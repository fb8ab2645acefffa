"""The same network in half precision; decoding stays float32, and so does what needs the range of float32."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from multibox.network.inference import Inference
from multibox.network.vgg import L2Norm
from multibox.prediction.engines.description import Precision

_TYPES: dict[Precision, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16}


class _InFloat32(nn.Module):
    """A part whose sums of squares are beyond float16's 65504."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        result: Tensor = self.part(x.float())
        return result.to(x.dtype)


def in_precision(inference: Inference, precision: Precision) -> Inference:
    """A copy whose network computes in `precision`; the same object for fp32 and int8, which are not torch's matter."""
    dtype = _TYPES.get(precision)
    if dtype is None:
        return inference
    low = copy.deepcopy(inference)
    priors = low.model.priors
    low.model.to(dtype)
    low.model.priors = priors
    low.dtype = dtype
    for name, part in list(low.model.named_modules()):
        if isinstance(part, L2Norm):
            owner, _, own = name.rpartition(".")
            setattr(low.model.get_submodule(owner), own, _InFloat32(part.float()))
    return low
