"""Runs an ExecuTorch program (.pte) by the runtime's Python bindings; NMS in NumPy."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ModelError
from multibox.prediction.engines.base import RawDetections, check_batch, run_in_batches, short_reason
from multibox.prediction.engines.description import KEY, Description, read_description
from multibox.prediction.engines.file import read_bytes
from multibox.prediction.engines.finish import finisher
from multibox.prediction.engines.program_engine import OUTPUTS
from multibox.spec import ModelSpec


class ExecuTorchEngine:
    """A program for a fixed number of images, on the CPU; it serves one caller at a time."""

    name = "executorch"
    calls = 1

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
        self.description: Description = read_description(str(told), path)
        self.spec: ModelSpec = self.description.spec
        self.batch: int | None = int(self._forward.metadata.input_tensor_meta(0).sizes()[0])
        self._finish = finisher(self.description, path)
        self._outputs = OUTPUTS[self.description.head]
        self._lock = threading.Lock()

    def run(self, batch: NDArray[np.uint8]) -> list[RawDetections]:
        """Detections of uint8 images [n, h, w, 3]; see `base.Engine`."""
        check_batch(batch, self.spec)
        return run_in_batches(self.infer, batch, self.batch, self._finish)

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.generic]]:
        """The file's outputs by name, for as many images as it takes."""
        import torch

        with self._lock:
            values = self._forward.execute([torch.from_numpy(np.ascontiguousarray(batch))])
            return {name: value.numpy().copy() for name, value in zip(self._outputs, values, strict=True)}
