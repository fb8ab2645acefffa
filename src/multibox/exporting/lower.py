"""What is exported, with the network in half precision; decoding stays float32."""

from __future__ import annotations

from multibox.network.inference import Inference
from multibox.network.precision import DTYPES, in_dtype
from multibox.prediction.engines.description import Precision


def in_precision(inference: Inference, precision: Precision) -> Inference:
    """A copy whose network computes in `precision`; the same object for fp32 and int8, which are not torch's matter."""
    if precision not in ("fp16", "bf16"):
        return inference
    low = Inference(in_dtype(inference.model, DTYPES[precision])).train(inference.training)
    low.dtype = DTYPES[precision]
    return low
