"""Runs an exported file on OpenVINO (CPU): the fastest engine, and the default one."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ModelError
from multibox.prediction.engines.base import RawDetections, check_batch, run_in_batches, short_reason
from multibox.prediction.engines.onnx_file import OnnxFile
from multibox.spec import ModelSpec


def import_openvino() -> ModuleType:
    """OpenVINO without its telemetry, which would otherwise write to the home folder and send on import."""
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: an ImportError there
    import openvino

    module: ModuleType = openvino
    return module


class OpenVinoEngine:
    """An exported file, compiled for low latency in fp32 (the runtime's own choice may be bfloat16: not exact)."""

    name = "openvino"

    def __init__(self, file: OnnxFile, threads: int | None = None) -> None:
        """`threads`: CPU threads, all where None. The compiled model is cached in MULTIBOX_CACHE where that is set."""
        openvino = import_openvino()
        self.spec: ModelSpec = file.spec
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        if cache := os.environ.get("MULTIBOX_CACHE"):
            options["CACHE_DIR"] = str(Path(cache) / "openvino")
        try:
            core = openvino.Core()
            model = core.read_model(file.data, b"")
            self._compiled = core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise ModelError(f"{file.path}: OpenVINO cannot open it ({short_reason(error)})") from None
        first = self._compiled.input(0).partial_shape[0]
        self.batch: int | None = first.get_length() if first.is_static else None
        self._outputs: list[str] = [output.any_name for output in self._compiled.outputs]
        self._requests = threading.local()  # an infer request serves one caller at a time

    def run(self, batch: NDArray[np.uint8]) -> list[RawDetections]:
        """Detections of uint8 images [n, h, w, 3]; see `base.Engine`."""
        check_batch(batch, self.spec)
        return run_in_batches(self.infer, batch, self.batch)

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.generic]]:
        """The file's outputs by name, for as many images as it takes; valid until this thread's next call."""
        request = getattr(self._requests, "request", None)
        if request is None:
            request = self._requests.request = self._compiled.create_infer_request()
        values = request.infer([np.ascontiguousarray(batch)], share_inputs=True, share_outputs=True)
        return {name: values[i] for i, name in enumerate(self._outputs)}
