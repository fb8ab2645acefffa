"""Runs a torch program (.pt2) on torch, without the code of the network; NMS in NumPy."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ModelError
from multibox.prediction.engines.base import Outputs, short_reason
from multibox.prediction.engines.exported import PROGRAM_OUTPUTS, ExportedEngine
from multibox.prediction.engines.file import ModelFile


class ProgramEngine(ExportedEngine):
    """A torch program, on the CPU."""

    name = "torch"

    def __init__(self, file: ModelFile, threads: int | None = None) -> None:
        """`threads`: CPU threads of torch in this whole process, unchanged where None."""
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        super().__init__(file.description, file.path)
        self._outputs = PROGRAM_OUTPUTS[file.head]
        try:
            program = torch.export.load(BytesIO(file.data))
            (images,) = (node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs)
        except Exception as error:  # torch's reader raises whatever its parts do
            raise ModelError(f"{file.path}: torch cannot open it ({short_reason(error)})") from None
        first = images.meta["val"].shape[0]
        self.batch = first if isinstance(first, int) else None
        self._run = program.module()

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """The file's outputs by name; see `ExportedEngine`."""
        import torch

        with torch.inference_mode():
            values = self._run(torch.from_numpy(np.ascontiguousarray(batch)))
        return {name: value.numpy() for name, value in zip(self._outputs, values, strict=True)}
