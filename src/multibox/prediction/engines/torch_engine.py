"""Runs weights on PyTorch: for a model that was just trained, and the truth that exported files are compared with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multibox.errors import UsageError
from multibox.prediction.engines.base import RawDetections, check_batch
from multibox.prediction.engines.description import Precision
from multibox.spec import ModelSpec

if TYPE_CHECKING:
    import torch

    from multibox.network.model import SSD


class TorchEngine:
    """A model in evaluation mode, on the device where it is; decoding and NMS are fp32 in every precision."""

    name = "torch"
    calls = 1

    def __init__(self, model: SSD, threads: int | None = None, precision: Precision = "fp32") -> None:
        """`threads`: CPU threads of torch in this whole process, unchanged where None. Another `precision` than fp32
        rounds a copy of the weights. Raises `UsageError` for one that torch does not compute in here.
        """
        import torch

        from multibox.network.normalize import Normalize
        from multibox.network.precision import in_dtype

        if threads is not None:
            torch.set_num_threads(threads)
        self.spec: ModelSpec = model.spec
        best_first = replace(model.spec.postprocess, order="score_descending")
        self._rule = replace(model.spec, postprocess=best_first)
        self._device = model.priors.device
        self._dtype = _dtype(precision, self._device.type)
        model = model if self._dtype == torch.float32 else in_dtype(model, self._dtype)
        self._model = model.eval().to(memory_format=torch.channels_last)
        self._normalize = Normalize(model.spec.input).to(self._device)

    def run(self, batch: NDArray[np.uint8]) -> list[RawDetections]:
        """Detections of uint8 images [n, h, w, 3]; see `base.Engine`."""
        import torch

        from multibox.boxes.postprocess import detect

        check_batch(batch, self.spec)
        if not len(batch):
            return []
        with torch.inference_mode():
            images = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device)
            logits, offsets = self._model(self._normalize(images).to(self._dtype))
            found = detect(logits.float(), offsets.float(), self._model.priors, self._rule, self._model.level_sizes)
        return [RawDetections(d.boxes.cpu().numpy(), d.scores.cpu().numpy(), d.labels.cpu().numpy()) for d in found]


def _dtype(precision: Precision, device: str) -> torch.dtype:
    """torch's type of a precision. Raises `UsageError` for one that it does not compute in on such a device."""
    from multibox.network.precision import DTYPES

    if precision == "fp16" and device == "cpu":
        raise UsageError("torch computes in fp16 on GPUs only; take precision bf16 or fp32")
    if precision not in DTYPES:
        way = f"'multibox export --precision {precision}'"
        raise UsageError(f"torch runs no weights in {precision}; make a file with {way}")
    return DTYPES[precision]
