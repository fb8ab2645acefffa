"""The SSD family: detect, train, evaluate, export. Names are loaded when they are used, so importing costs nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multibox.data.open import open_dataset
    from multibox.errors import DataError, ExportError, ModelError, MultiboxError, UsageError
    from multibox.evaluation.evaluate import evaluate
    from multibox.exporting.onnx import export_onnx
    from multibox.network.build import build_model
    from multibox.prediction.detector import Detector, load
    from multibox.results.draw import draw
    from multibox.results.prediction import Prediction
    from multibox.results.write import open_writer
    from multibox.spec import ModelSpec
    from multibox.training.options import TrainOptions
    from multibox.training.train import train
    from multibox.zoo import list_models, load_spec
    from multibox.zoo.convert import convert
    from multibox.zoo.create import create_model

__all__ = [
    "DataError",
    "Detector",
    "ExportError",
    "ModelError",
    "ModelSpec",
    "MultiboxError",
    "Prediction",
    "TrainOptions",
    "UsageError",
    "build_model",
    "convert",
    "create_model",
    "draw",
    "evaluate",
    "export_onnx",
    "list_models",
    "load",
    "load_spec",
    "open_dataset",
    "open_writer",
    "train",
]

_HOMES = {
    "multibox.data.open": ("open_dataset",),
    "multibox.errors": ("DataError", "ExportError", "ModelError", "MultiboxError", "UsageError"),
    "multibox.evaluation.evaluate": ("evaluate",),
    "multibox.exporting.onnx": ("export_onnx",),
    "multibox.network.build": ("build_model",),
    "multibox.prediction.detector": ("Detector", "load"),
    "multibox.results.draw": ("draw",),
    "multibox.results.prediction": ("Prediction",),
    "multibox.results.write": ("open_writer",),
    "multibox.spec": ("ModelSpec",),
    "multibox.training.options": ("TrainOptions",),
    "multibox.training.train": ("train",),
    "multibox.zoo": ("list_models", "load_spec"),
    "multibox.zoo.convert": ("convert",),
    "multibox.zoo.create": ("create_model",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Loads a public name from its room when it is first used."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("multibox")
        except PackageNotFoundError:  # run from a checkout that is not installed
            return "unknown"
    if name not in _HOME_OF:
        raise AttributeError(f"module 'multibox' has no attribute '{name}'")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted([*__all__, "__version__"])
