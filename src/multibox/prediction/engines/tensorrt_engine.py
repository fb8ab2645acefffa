"""Runs a TensorRT engine (.plan) on the GPU that it was built for; NMS in NumPy. Memory on the GPU is torch's."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ModelError
from multibox.prediction.engines.base import RawDetections, check_batch, run_in_batches
from multibox.prediction.engines.description import Description, read_description
from multibox.prediction.engines.file import read_bytes
from multibox.prediction.engines.finish import finisher
from multibox.spec import ModelSpec


def description_of(path: Path) -> Path:
    """The file beside an engine that says what it is."""
    return path.with_name(f"{path.name}.json")


class TensorRtEngine:
    """An engine for a fixed number of images; it serves one caller at a time."""

    name = "tensorrt"
    calls = 1

    def __init__(self, path: str | Path) -> None:
        """Raises `ModelError` where there is no GPU, and where TensorRT refuses the file (one of another GPU)."""
        import tensorrt
        import torch

        path = Path(path)
        data = read_bytes(path)
        told = read_bytes(description_of(path)).decode("utf-8", "replace")
        self.description: Description = read_description(told, path)
        if not torch.cuda.is_available():
            raise ModelError(f"{path}: TensorRT needs a GPU, and torch sees none here")
        engine = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR)).deserialize_cuda_engine(data)
        if engine is None:
            raise ModelError(f"{path}: TensorRT cannot open it; engines fit one kind of GPU and one version")
        self.spec: ModelSpec = self.description.spec
        self._finish = finisher(self.description, path)
        self._context: Any = engine.create_execution_context()
        self._engine: Any = engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self._buffers = {name: self._buffer(name) for name in names}
        for name, buffer in self._buffers.items():
            self._context.set_tensor_address(name, buffer.data_ptr())
        self.batch: int | None = int(self._buffers["images"].shape[0])
        self._lock = threading.Lock()

    def _buffer(self, name: str) -> Any:
        """Memory on the GPU for an input or output."""
        import torch

        dtype = torch.uint8 if name == "images" else torch.float32
        return torch.empty(tuple(self._engine.get_tensor_shape(name)), dtype=dtype, device="cuda")

    def run(self, batch: NDArray[np.uint8]) -> list[RawDetections]:
        """Detections of uint8 images [n, h, w, 3]; see `base.Engine`."""
        check_batch(batch, self.spec)
        return run_in_batches(self.infer, batch, self.batch, self._finish)

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.generic]]:
        """The file's outputs by name, for as many images as it takes."""
        import torch

        with self._lock:
            stream = torch.cuda.current_stream()
            self._buffers["images"].copy_(torch.from_numpy(np.ascontiguousarray(batch)))
            self._context.execute_async_v3(stream.cuda_stream)
            stream.synchronize()
            outputs = {name: buffer.cpu().numpy() for name, buffer in self._buffers.items() if name != "images"}
        return outputs
