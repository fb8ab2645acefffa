"""Runs weights on PyTorch: for a model that was just trained, and the truth that exported files are compared with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multibox.prediction.engines.base import RawDetections, check_batch
from multibox.spec import ModelSpec

if TYPE_CHECKING:
    from multibox.network.model import SSD


class TorchEngine:
    """A model in evaluation mode, on the device where it is."""

    name = "torch"

    def __init__(self, model: SSD, threads: int | None = None) -> None:
        """`threads`: CPU threads of torch in this whole process, unchanged where None."""
        import torch

        from multibox.network.normalize import Normalize

        if threads is not None:
            torch.set_num_threads(threads)
        self.spec: ModelSpec = model.spec
        best_first = replace(model.spec.postprocess, order="score_descending")
        self._rule = replace(model.spec, postprocess=best_first)
        self._device = model.priors.device
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
            logits, offsets = self._model(self._normalize(images))
            found = detect(logits, offsets, self._model.priors, self._rule, self._model.level_sizes)
        return [RawDetections(d.boxes.cpu().numpy(), d.scores.cpu().numpy(), d.labels.cpu().numpy()) for d in found]
