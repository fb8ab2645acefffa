"""Runs a torch program (.pt2) on torch, without the code of the network; NMS in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ModelError
from multibox.prediction.engines.base import RawDetections, check_batch, run_in_batches, short_reason
from multibox.prediction.engines.file import ModelFile
from multibox.prediction.engines.finish import finisher
from multibox.spec import ModelSpec

OUTPUTS = {"decoded": ("boxes", "scores"), "raw": ("logits", "offsets")}
"""The names of the two outputs, which this kind of file does not keep."""


class ProgramEngine:
    """A torch program, on the CPU."""

    name = "torch"
    calls = 1

    def __init__(self, file: ModelFile, threads: int | None = None) -> None:
        """`threads`: CPU threads of torch in this whole process, unchanged where None."""
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self.spec: ModelSpec = file.spec
        self._finish = finisher(file.description, file.path)
        self._outputs = OUTPUTS[file.head]
        try:
            program = torch.export.load(BytesIO(file.data))
            (images,) = (node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs)
        except Exception as error:  # torch's reader raises whatever its parts do
            raise ModelError(f"{file.path}: torch cannot open it ({short_reason(error)})") from None
        first = images.meta["val"].shape[0]
        self.batch: int | None = first if isinstance(first, int) else None
        self._run = program.module()

    def run(self, batch: NDArray[np.uint8]) -> list[RawDetections]:
        """Detections of uint8 images [n, h, w, 3]; see `base.Engine`."""
        check_batch(batch, self.spec)
        return run_in_batches(self.infer, batch, self.batch, self._finish) if len(batch) else []

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.generic]]:
        """The file's outputs by name, for as many images as it takes."""
        import torch

        with torch.inference_mode():
            values = self._run(torch.from_numpy(np.ascontiguousarray(batch)))
        return {name: value.numpy() for name, value in zip(self._outputs, values, strict=True)}
