"""A name -> a model's sheet. Torch-free; `zoo.models` builds the networks."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path

from multibox.errors import ModelError, did_you_mean
from multibox.sheet import read_sheet
from multibox.spec import ModelSpec

__all__ = ["builtin_detector", "is_weights_file", "list_models", "load_spec"]

BUILTIN = "default.onnx"
"""File of the detector that comes with the package."""

_ENDINGS = {
    ".safetensors", ".pth", ".pt", ".tar", ".bin", ".ckpt", ".tflite", ".caffemodel", ".params", ".onnx",
}  # fmt: skip
"""Of files with weights; other words that lead to no file are the names of models, whose tags follow a dot."""


def list_models() -> list[str]:
    """Full names of all sheets that come with the package, sorted."""
    return sorted(path.name.removesuffix(".toml") for path in _sheets())


def load_spec(name: str | Path) -> ModelSpec:
    """The spec of a sheet, by full name, by alias, or by the path of a .toml file.

    Raises `ModelError` for an unknown name (with the nearest one) and for a sheet that cannot be read.
    """
    text = str(name)
    if text.endswith(".toml"):
        return read_sheet(Path(name))
    full = _aliases().get(text, text)
    known = list_models()
    if full not in known:
        hint = did_you_mean(text, [*known, *_aliases()])
        raise ModelError(f"no model '{text}'{hint or '; `multibox models list` shows all'}")
    return _packaged(full)


def is_weights_file(model: str | Path) -> bool:
    """Whether `model` means a file with weights, there or not, rather than a sheet: its name, alias or path."""
    text = str(model)
    if text.endswith(".toml") or text in _aliases() or text in list_models():
        return False
    return Path(model).exists() or Path(model).suffix.lower() in _ENDINGS


def builtin_detector() -> Path:
    """The exported detector inside the package. Raises `ModelError` where the package was built without it."""
    path = _folder() / BUILTIN
    if not path.is_file():
        raise ModelError("this installation holds no built-in detector; name a model file instead")
    return path


def _folder() -> Path:
    return Path(str(resources.files("multibox.zoo"))) / "models"


def _sheets() -> list[Path]:
    return list(_folder().glob("*.toml"))


@lru_cache
def _packaged(full: str) -> ModelSpec:
    """A sheet of the package; its file is named after it."""
    spec = read_sheet(_folder() / f"{full}.toml")
    if spec.name != full:
        raise ModelError(f"sheet {full}.toml names itself '{spec.name}'")
    return spec


@lru_cache
def _aliases() -> dict[str, str]:
    """Alias -> full name, over all sheets."""
    return {alias: name for name in list_models() for alias in _packaged(name).aliases}
