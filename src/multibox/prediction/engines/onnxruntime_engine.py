"""Runs an exported file on ONNX Runtime: the engine of the core install."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ModelError
from multibox.prediction.engines.base import Outputs, cores, short_reason
from multibox.prediction.engines.exported import ExportedEngine
from multibox.prediction.engines.file import ModelFile


class OnnxRuntimeEngine(ExportedEngine):
    """An exported file on the CPU provider."""

    name = "onnxruntime"

    def __init__(self, file: ModelFile, threads: int | None = None, calls: int = 1) -> None:
        """`threads`: CPU threads, all where None, shared by so many `calls` at a time. Raises `ModelError` where the
        runtime refuses the file.
        """
        import onnxruntime

        super().__init__(file.description, file.path, calls)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: its warnings are about its own optimiser
        if threads is not None or calls > 1:
            options.intra_op_num_threads = max(1, (threads or cores()) // calls)
        try:
            self._session: Any = onnxruntime.InferenceSession(file.data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no narrower public base
            raise ModelError(f"{file.path}: ONNX Runtime cannot open it ({short_reason(error)})") from None
        first = self._session.get_inputs()[0].shape[0]
        self.batch = first if isinstance(first, int) else None
        self._outputs: list[str] = [output.name for output in self._session.get_outputs()]

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """The file's outputs by name; see `ExportedEngine`."""
        values = self._session.run(self._outputs, {"images": np.ascontiguousarray(batch)})
        return dict(zip(self._outputs, values, strict=True))
