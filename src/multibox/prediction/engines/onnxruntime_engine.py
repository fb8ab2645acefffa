"""Runs an exported file on ONNX Runtime: the engine of the core install."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ModelError
from multibox.prediction.engines.base import RawDetections, check_batch, cores, run_in_batches, short_reason
from multibox.prediction.engines.file import ModelFile
from multibox.prediction.engines.finish import finisher
from multibox.spec import ModelSpec


class OnnxRuntimeEngine:
    """An exported file on the CPU provider."""

    name = "onnxruntime"

    def __init__(self, file: ModelFile, threads: int | None = None, calls: int = 1) -> None:
        """`threads`: CPU threads, all where None, shared by so many `calls` at a time. Raises `ModelError` where the
        runtime refuses the file.
        """
        import onnxruntime

        self.spec: ModelSpec = file.spec
        self.calls = calls
        self._finish = finisher(file.description, file.path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: its warnings are about its own optimiser
        if threads is not None or calls > 1:
            options.intra_op_num_threads = max(1, (threads or cores()) // calls)
        try:
            self._session: Any = onnxruntime.InferenceSession(file.data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no narrower public base
            raise ModelError(f"{file.path}: ONNX Runtime cannot open it ({short_reason(error)})") from None
        first = self._session.get_inputs()[0].shape[0]
        self.batch: int | None = first if isinstance(first, int) else None
        self._outputs: list[str] = [output.name for output in self._session.get_outputs()]

    def run(self, batch: NDArray[np.uint8]) -> list[RawDetections]:
        """Detections of uint8 images [n, h, w, 3]; see `base.Engine`."""
        check_batch(batch, self.spec)
        return run_in_batches(self.infer, batch, self.batch, self._finish)

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.generic]]:
        """The file's outputs by name, for as many images as it takes."""
        values = self._session.run(self._outputs, {"images": np.ascontiguousarray(batch)})
        return dict(zip(self._outputs, values, strict=True))
