"""A model file -> the engine that runs it fastest here, or the one that is asked for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal, get_args

from multibox.errors import ModelError, UsageError, did_you_mean
from multibox.prediction.engines.base import Engine

EngineName = Literal["auto", "torch", "openvino", "onnxruntime"]
_OF_ONNX = ("openvino", "onnxruntime")
"""Engines of exported files, fastest first."""


def open_engine(model: str | Path, engine: EngineName = "auto", *, threads: int | None = None) -> Engine:
    """The engine for a model file: exported (.onnx) on OpenVINO or ONNX Runtime, weights on torch.

    `auto` takes the fastest that is installed and can read the file. `threads` limits its CPU threads (all where None).
    Raises `UsageError` for an unknown engine, `ModelError` where file and engine do not fit or something is missing.
    """
    known = get_args(EngineName)
    if engine not in known:
        raise UsageError(f"no engine '{engine}'{did_you_mean(engine, known)} (known: {', '.join(known)})")
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}; it must be 1 or more")
    path = Path(model)
    if path.suffix.lower() == ".onnx":
        return _open_onnx(path, engine, threads)
    if engine in _OF_ONNX:
        raise ModelError(f"{path}: engine '{engine}' runs exported files; make one with 'multibox export {path}'")
    return _open_torch(path, threads)


def _open_onnx(path: Path, engine: EngineName, threads: int | None) -> Engine:
    """An exported file on the engine that is asked for, or on the first that is installed."""
    if engine == "torch":
        raise ModelError(
            f"{path}: engine 'torch' runs weights, not exported files; give the .safetensors, or another engine"
        )
    from multibox.prediction.engines.onnx_file import read_onnx

    file = read_onnx(path)
    chosen = next((name for name in _OF_ONNX if engine in ("auto", name) and _installed(name)), None)
    if chosen == "openvino":
        from multibox.prediction.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(file, threads)
    if chosen == "onnxruntime":
        from multibox.prediction.engines.onnxruntime_engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine(file, threads)
    wanted = "onnxruntime" if engine == "auto" else engine
    raise ModelError(f"{path}: engine '{engine}' is not installed here; run: pip install {wanted}")


def _open_torch(path: Path, threads: int | None) -> Engine:
    """Weights on torch, where it is installed."""
    if not _installed("torch"):
        raise ModelError(
            f"{path}: weights run on torch, which is not installed; run: pip install 'multibox[train]', or export it"
        )
    import torch

    from multibox.prediction.engines.torch_engine import TorchEngine
    from multibox.zoo.models import load_model

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TorchEngine(load_model(path).to(device), threads)


def _installed(package: str) -> bool:
    """Whether `package` can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None
