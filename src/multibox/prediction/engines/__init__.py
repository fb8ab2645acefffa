"""A model file -> the engine that runs it fastest here, or the one that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from multibox.errors import ModelError, UsageError, did_you_mean
from multibox.installed import is_installed
from multibox.prediction.engines.base import Engine, Running
from multibox.prediction.engines.description import Precision

EngineName = Literal["auto", "torch", "openvino", "onnxruntime", "executorch", "litert", "tensorrt"]

RUNTIMES: Mapping[str, tuple[EngineName, ...]] = {
    ".onnx": ("openvino", "onnxruntime"),
    ".xml": ("openvino",),
    ".pt2": ("torch",),
    ".pte": ("executorch",),
    ".tflite": ("litert",),
    ".plan": ("tensorrt",),
}
"""By the ending of an exported file: what runs it, on most networks the fastest first."""
_PACKAGES = {"litert": "ai_edge_litert"}
"""Of runtimes that are not called as their package is."""
_WAYS = {"torch": "pip install 'multibox[train]'", "litert": "pip install ai-edge-litert"}


def open_engine(
    model: str | Path,
    engine: EngineName = "auto",
    *,
    threads: int | None = None,
    precision: Precision | None = None,
    calls: int = 1,
) -> Engine:
    """The engine for a model file: an exported one (`RUNTIMES`) on its runtime, weights on torch.

    `auto` takes the engine that `multibox doctor` measured to be the fastest for this file, without a measurement the
    first of `RUNTIMES` that is installed. The others are those of `Running`. Raises
    `UsageError` for an unknown engine, `ModelError` where file, engine and precision do not fit or something lacks.
    """
    known = get_args(EngineName)
    if engine not in known:
        raise UsageError(f"no engine '{engine}'{did_you_mean(engine, known)} (known: {', '.join(known)})")
    running = Running(threads=threads, precision=precision, calls=calls)
    path = Path(model)
    if is_exported(path):
        return _open_exported(path, engine, running)
    if engine not in ("auto", "torch"):
        raise ModelError(f"{path}: engine '{engine}' runs exported files; make one with 'multibox export {path}'")
    return _open_torch(path, running)


def is_exported(path: Path) -> bool:
    """Whether the file is an exported one, told by its ending; a .tflite by its content too, as others' are weights."""
    if path.suffix.lower() == ".tflite":
        from multibox.prediction.engines.litert_file import is_ours

        return is_ours(path)
    return path.suffix.lower() in RUNTIMES


def _open_exported(path: Path, engine: EngineName, running: Running) -> Engine:
    """An exported file on the engine that is asked for, or on the first that is installed."""
    able = RUNTIMES[path.suffix.lower()]
    if engine != "auto" and engine not in able:
        other = (
            "runs weights, not exported files; give the .safetensors"
            if engine == "torch"
            else "does not run it; take auto"
        )
        raise ModelError(f"{path}: engine '{engine}' {other}, or another engine ({' or '.join(able)})")
    there = [name for name in able if engine in ("auto", name) and has_runtime(name)]
    chosen = _fastest(path, there) if len(there) > 1 else next(iter(there), None)
    if chosen is None:
        wanted = able[-1] if engine == "auto" else engine
        way = _WAYS.get(wanted, f"pip install {wanted}")
        raise ModelError(f"{path}: engine '{wanted}' is not installed here; run: {way}")
    return _open_on(path, chosen, running)


def _fastest(path: Path, there: Sequence[EngineName]) -> EngineName:
    """The engine that `multibox doctor` measured to be the fastest for this file, or the first."""
    from multibox.prediction.engines.choice import remembered

    won = remembered(path) if path.is_file() else None
    return next((name for name in there if name == won), there[0])


def _open_on(path: Path, engine: EngineName, running: Running) -> Engine:
    """An exported file on an engine that is installed and runs such files."""
    if engine in ("openvino", "onnxruntime"):
        return _open_graph(path, engine, running)
    if running.precision is not None:
        raise ModelError(f"{path}: '{engine}' computes as the file was exported; leave out precision, or export anew")
    if engine == "executorch":
        from multibox.prediction.engines.executorch_engine import ExecuTorchEngine

        return ExecuTorchEngine(path)
    if engine == "tensorrt":
        from multibox.prediction.engines.tensorrt_engine import TensorRtEngine

        return TensorRtEngine(path)
    if engine == "litert":
        from multibox.prediction.engines.litert_engine import LiteRtEngine
        from multibox.prediction.engines.litert_file import read_litert

        return LiteRtEngine(read_litert(path), running.threads)
    from multibox.prediction.engines.program_engine import ProgramEngine
    from multibox.prediction.engines.program_file import read_program

    return ProgramEngine(read_program(path), running.threads)


def _open_graph(path: Path, engine: EngineName, running: Running) -> Engine:
    """An ONNX file or OpenVINO's own pair of files."""
    from multibox.prediction.engines.ir_file import read_ir
    from multibox.prediction.engines.onnx_file import read_onnx

    file = read_ir(path) if path.suffix.lower() == ".xml" else read_onnx(path)
    file = file.computing_in(running.precision or file.precision, engine)
    if engine == "openvino":
        from multibox.prediction.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(file, running.threads, running.calls)
    from multibox.prediction.engines.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(file, running.threads, running.calls)


def _open_torch(path: Path, running: Running) -> Engine:
    """Weights on torch, where it is installed."""
    if not is_installed("torch"):
        raise ModelError(
            f"{path}: weights run on torch, which is not installed; run: pip install 'multibox[train]', or export it"
        )
    import torch

    from multibox.prediction.engines.torch_engine import TorchEngine
    from multibox.zoo.models import load_model

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TorchEngine(load_model(path).to(device), running.threads, running.precision or "fp32")


def has_runtime(engine: EngineName) -> bool:
    """Whether the engine's runtime is installed."""
    return is_installed(_PACKAGES.get(engine, engine))
