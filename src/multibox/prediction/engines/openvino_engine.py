"""Runs an exported file on OpenVINO (CPU): the default where it is installed, and the fastest on large networks."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ModelError
from multibox.prediction.engines.base import Outputs, short_reason
from multibox.prediction.engines.exported import ExportedEngine
from multibox.prediction.engines.file import ModelFile
from multibox.prediction.engines.openvino_core import openvino_core


class OpenVinoEngine(ExportedEngine):
    """An exported file, compiled for low latency in fp32, or in bfloat16 where the file asks for it (the runtime's own
    choice may be that: not exact).

    A file for any number of images is compiled for one image, which is a fifth faster than one that takes any number,
    and for more only when they come.
    """

    name = "openvino"

    def __init__(self, file: ModelFile, threads: int | None = None, calls: int = 1) -> None:
        """`threads`: CPU threads, all where None, shared by so many `calls` at a time. The compiled model is cached in
        MULTIBOX_CACHE where that is set.
        """
        super().__init__(file.description, file.path, calls)
        self._file = file
        self._options: dict[str, Any] = {"NUM_STREAMS": calls, "INFERENCE_PRECISION_HINT": _arithmetic(file)}
        self._options["PERFORMANCE_HINT"] = "LATENCY" if calls == 1 else "THROUGHPUT"
        if threads is not None:
            self._options["INFERENCE_NUM_THREADS"] = threads
        if cache := os.environ.get("MULTIBOX_CACHE"):
            self._options["CACHE_DIR"] = str(Path(cache) / "openvino")
        self._lock = threading.Lock()
        self._requests = threading.local()  # an infer request serves one caller at a time
        self._many: Any = None
        model = self._read()
        self._outputs: list[str] = [output.any_name for output in model.outputs]
        shape = model.input(0).partial_shape
        self.batch = shape[0].get_length() if shape[0].is_static else None
        if self.batch is None:
            shape[0] = 1
            model.reshape({model.input(0): shape})
        self._single = self._compile(model)

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """The file's outputs by name; see `ExportedEngine`."""
        kind = "single" if self.batch is not None or len(batch) == 1 else "many"
        request = getattr(self._requests, kind, None)
        if request is None:
            request = (self._single if kind == "single" else self._compiled_for_many()).create_infer_request()
            setattr(self._requests, kind, request)
        values = request.infer([np.ascontiguousarray(batch)], share_inputs=True, share_outputs=True)
        return {name: values[i] for i, name in enumerate(self._outputs)}

    def _at_once(self) -> int | None:
        """An int8 file takes images one by one: where their number is free and NMS is inside, OpenVINO (2026.4)
        computes the network of such a file wrongly, without a word.
        """
        return 1 if self._file.precision == "int8" and self.batch is None else self.batch

    def _compiled_for_many(self) -> Any:
        """The model for any number of images, compiled once for all threads."""
        with self._lock:
            if self._many is None:
                self._many = self._compile(self._read())
            return self._many

    def _read(self) -> Any:
        """The file as OpenVINO's model. Raises `ModelError` where it is refused."""
        try:
            model = openvino_core().read_model(self._file.data, self._file.weights)
            model.add_outputs(list(self._file.watched))
            return model
        except RuntimeError as error:
            raise ModelError(f"{self._file.path}: OpenVINO cannot open it ({short_reason(error)})") from None

    def _compile(self, model: Any) -> Any:
        """The model ready to run. Raises `ModelError` where that fails."""
        try:
            return openvino_core().compile_model(model, "CPU", self._options)
        except RuntimeError as error:
            raise ModelError(f"{self._file.path}: OpenVINO cannot compile it ({short_reason(error)})") from None


def _arithmetic(file: ModelFile) -> str:
    """The runtime's word for the precision in which the network of `file` computes. Raises `ModelError` where the CPU
    has no such arithmetic: the runtime would silently take fp32.
    """
    if file.precision != "bf16":
        return "f32"
    if "BF16" not in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ModelError(f"{file.path}: this CPU has no bfloat16 arithmetic; take precision fp32")
    return "bf16"
