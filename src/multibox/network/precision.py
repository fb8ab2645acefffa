"""The same network in half precision, for inference; what needs the range of float32 stays in it."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from multibox.network.folding import fold_norms
from multibox.network.model import SSD
from multibox.network.vgg import L2Norm

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""torch's type of each precision in which it runs a whole network."""


class _InFloat32(nn.Module):
    """A part whose sums of squares are beyond float16's 65504."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        result: Tensor = self.part(x.float())
        return result.to(x.dtype)


def in_dtype(model: SSD, dtype: torch.dtype) -> SSD:
    """A copy that takes and gives `dtype` and has weights rounded to it; its priors are those of `model`.

    Batch norms are folded first: their small variances would multiply what rounding does to the convolutions' output.
    """
    low = fold_norms(copy.deepcopy(model))
    low.to(dtype)
    low.priors = model.priors
    for name, part in list(low.named_modules()):
        if isinstance(part, L2Norm):
            owner, _, own = name.rpartition(".")
            setattr(low.get_submodule(owner), own, _InFloat32(part.float()))
    return low
