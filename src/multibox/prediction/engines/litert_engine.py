"""Runs a LiteRT file (.tflite) by LiteRT's interpreter; NMS in NumPy."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ModelError
from multibox.prediction.engines.base import Outputs, short_reason
from multibox.prediction.engines.exported import PROGRAM_OUTPUTS, ExportedEngine
from multibox.prediction.engines.file import ModelFile


class LiteRtEngine(ExportedEngine):
    """A file for a fixed number of images, on the CPU; it serves one caller at a time."""

    name = "litert"

    def __init__(self, file: ModelFile, threads: int | None = None) -> None:
        """`threads`: CPU threads, the runtime's choice where None. Raises `ModelError` where it refuses the file."""
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(model_content=file.data, num_threads=threads)
            self._interpreter.allocate_tensors()
            signature = self._interpreter.get_signature_list()["serving_default"]
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(f"{file.path}: LiteRT cannot open it ({short_reason(error)})") from None
        super().__init__(file.description, file.path)
        self._outputs = dict(zip(PROGRAM_OUTPUTS[file.head], sorted(signature["outputs"]), strict=True))
        self._input: str = signature["inputs"][0]
        self._call = self._interpreter.get_signature_runner("serving_default")
        self.batch = int(self._interpreter.get_input_details()[0]["shape"][0])
        self._lock = threading.Lock()

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """The file's outputs by name; see `ExportedEngine`."""
        with self._lock:
            values = self._call(**{self._input: np.ascontiguousarray(batch)})
            return {name: np.array(values[own]) for name, own in self._outputs.items()}
