"""Runs a TensorRT engine (.plan) on the GPU that it was built for; NMS in NumPy. Memory on the GPU is torch's."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ModelError
from multibox.prediction.engines.base import Outputs
from multibox.prediction.engines.description import read_description
from multibox.prediction.engines.exported import ExportedEngine
from multibox.prediction.engines.file import read_bytes


def description_of(path: Path) -> Path:
    """The file beside an engine that says what it is."""
    return path.with_name(f"{path.name}.json")


class TensorRtEngine(ExportedEngine):
    """An engine for a fixed number of images; it serves one caller at a time."""

    name = "tensorrt"

    def __init__(self, path: str | Path) -> None:
        """Raises `ModelError` where there is no GPU, and where TensorRT refuses the file (one of another GPU)."""
        import tensorrt
        import torch

        path = Path(path)
        data = read_bytes(path)
        told = read_bytes(description_of(path)).decode("utf-8", "replace")
        description = read_description(told, path)
        if not torch.cuda.is_available():
            raise ModelError(f"{path}: TensorRT needs a GPU, and torch sees none here")
        engine = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR)).deserialize_cuda_engine(data)
        if engine is None:
            raise ModelError(f"{path}: TensorRT cannot open it; engines fit one kind of GPU and one version")
        super().__init__(description, path)
        self._context: Any = engine.create_execution_context()
        self._engine: Any = engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self._buffers = {name: self._buffer(name) for name in names}
        for name, buffer in self._buffers.items():
            self._context.set_tensor_address(name, buffer.data_ptr())
        self.batch = int(self._buffers["images"].shape[0])
        self._lock = threading.Lock()

    def _buffer(self, name: str) -> Any:
        """Memory on the GPU for an input or output."""
        import torch

        dtype = torch.uint8 if name == "images" else torch.float32
        return torch.empty(tuple(self._engine.get_tensor_shape(name)), dtype=dtype, device="cuda")

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """The file's outputs by name; see `ExportedEngine`."""
        import torch

        with self._lock:
            stream = torch.cuda.current_stream()
            self._buffers["images"].copy_(torch.from_numpy(np.ascontiguousarray(batch)))
            self._context.execute_async_v3(stream.cuda_stream)
            stream.synchronize()
            outputs = {name: buffer.cpu().numpy() for name, buffer in self._buffers.items() if name != "images"}
        return outputs
