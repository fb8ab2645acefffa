"""Runs an ExecuTorch program (.pte) by the runtime's Python bindings; NMS in NumPy."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ModelError
from multibox.prediction.engines.base import Outputs, short_reason
from multibox.prediction.engines.description import KEY, read_description
from multibox.prediction.engines.exported import PROGRAM_OUTPUTS, ExportedEngine
from multibox.prediction.engines.file import read_bytes


class ExecuTorchEngine(ExportedEngine):
    """A program for a fixed number of images, on the CPU; it serves one caller at a time."""

    name = "executorch"

    def __init__(self, path: str | Path) -> None:
        """Raises `ModelError` where the runtime refuses the file, or multibox did not export it."""
        from executorch.runtime import Runtime

        path = Path(path)
        data = read_bytes(path)
        try:
            self._program = Runtime.get().load_program(data)
            told = KEY in self._program.method_names and self._program.load_method(KEY).execute([])[0]
            self._forward: Any = self._program.load_method("forward") if told else None
        except RuntimeError as error:
            raise ModelError(f"{path}: ExecuTorch cannot open it ({short_reason(error)})") from None
        if self._forward is None:
            raise ModelError(f"{path}: an ExecuTorch program that multibox did not export")
        description = read_description(str(told), path)
        super().__init__(description, path)
        self.batch = int(self._forward.metadata.input_tensor_meta(0).sizes()[0])
        self._outputs = PROGRAM_OUTPUTS[description.head]
        self._lock = threading.Lock()

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """The file's outputs by name; see `ExportedEngine`."""
        import torch

        with self._lock:
            values = self._forward.execute([torch.from_numpy(np.ascontiguousarray(batch))])
            return {name: value.numpy().copy() for name, value in zip(self._outputs, values, strict=True)}
