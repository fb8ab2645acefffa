"""What is exported, with the network in half precision; decoding stays float32."""

from __future__ import annotations

import torch

from multibox.network.inference import Inference
from multibox.network.precision import in_dtype
from multibox.prediction.engines.description import Precision

_TYPES: dict[Precision, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16}


def in_precision(inference: Inference, precision: Precision) -> Inference:
    """A copy whose network computes in `precision`; the same object for fp32 and int8, which are not torch's matter."""
    dtype = _TYPES.get(precision)
    if dtype is None:
        return inference
    low = Inference(in_dtype(inference.model, dtype)).train(inference.training)
    low.dtype = dtype
    return low
