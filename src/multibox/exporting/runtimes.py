"""The runtimes of ONNX and OpenVINO files that are installed here, to check what was written."""

from __future__ import annotations

from multibox.errors import ExportError
from multibox.installed import is_installed
from multibox.prediction.engines.exported import ExportedEngine
from multibox.prediction.engines.file import ModelFile


def need(package: str, format: str, install: str) -> None:
    """Raises `ExportError` that names what to install where `package` is absent."""
    if not is_installed(package):
        raise ExportError(f"{format} files are made with the package '{package}', which is absent; run: {install}")


def need_a_runtime() -> None:
    """Raises `ExportError` where nothing can check an ONNX file."""
    if not is_installed("openvino") and not is_installed("onnxruntime"):
        raise ExportError("nothing here can check the exported file; install onnxruntime or openvino")


def open_everywhere(file: ModelFile) -> list[ExportedEngine]:
    """An ONNX file on every runtime that is installed."""
    engines: list[ExportedEngine] = []
    if is_installed("openvino"):
        from multibox.prediction.engines.openvino_engine import OpenVinoEngine

        engines.append(OpenVinoEngine(file))
    if is_installed("onnxruntime"):
        from multibox.prediction.engines.onnxruntime_engine import OnnxRuntimeEngine

        engines.append(OnnxRuntimeEngine(file))
    return engines
