"""A weights file of any known kind -> tensors under our keys; the kind is told by content, never by the file's name."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multibox.errors import ModelError
from multibox.spec import ModelSpec
from multibox.weights import checkpoint
from multibox.weights.importers import torchvision

_IMPORTERS = (torchvision,)
_WRAPPERS = ("state_dict", "model")
_PREFIX = "module."
"""Left by torch's DataParallel."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Tensors under our keys, with the spec (our own files) or the name of the sheet they belong to (foreign files)."""

    spec: ModelSpec | None = None
    sheet: str | None = None
    state: dict[str, Tensor]
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


def load_weights(path: str | Path) -> Loaded:
    """Reads our .safetensors, a torch checkpoint of a codebase that has an importer, or TensorFlow's .tflite detectors.

    Pickles are read with `weights_only=True` alone, so that a file cannot run code. Raises `ModelError`, one sentence,
    for a file that is absent, cut off, unknown, or that holds more than tensors.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from None
    if head[4:8] == b"TFL3":
        # here, as reading a FlatBuffer is of no use to the other kinds
        from multibox.weights.importers import tflite

        sheet, state = tflite.read(path)
        return Loaded(sheet=sheet, state=state)
    if head[8:9] == b"{":
        ours = checkpoint.load(path)
        return Loaded(spec=ours.spec, state=ours.state, metrics=ours.metrics, training=ours.training)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return _import(path, _unwrap(path, _read_pickle(path)))
    raise ModelError(f"{path}: not a weights file; give a .safetensors of multibox, a torch checkpoint or a .tflite")


def _read_pickle(path: Path) -> object:
    """What `torch.save` wrote, tensors and plain containers only, on the CPU."""
    try:
        loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Weights only" in str(error) or "Unsupported" in str(error):
            raise ModelError(f"{path}: holds Python objects besides tensors; save its state_dict alone") from None
        raise ModelError(f"{path}: cut off or damaged; copy it again") from None
    except Exception:  # a damaged archive fails in torch's reader in many ways
        raise ModelError(f"{path}: cut off or damaged, or not a torch checkpoint; copy it again") from None
    return loaded


def _unwrap(path: Path, loaded: object) -> dict[str, Tensor]:
    """The state dict inside the usual wrappers, without DataParallel's prefix."""
    for name in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    if not isinstance(loaded, Mapping):
        raise ModelError(f"{path}: holds a {type(loaded).__name__}, not a state dict of tensors")
    state = {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}
    if not state:
        raise ModelError(f"{path}: holds no tensors")
    if all(key.startswith(_PREFIX) for key in state):
        state = {key.removeprefix(_PREFIX): value for key, value in state.items()}
    return state


def _import(path: Path, state: dict[str, Tensor]) -> Loaded:
    """Asks every importer whether the keys are its own."""
    for importer in _IMPORTERS:
        if sheet := importer.recognise(state):
            return Loaded(sheet=sheet, state=importer.convert(state))
    raise ModelError(f"{path}: no importer knows these {len(state)} tensors (the first is '{next(iter(state))}')")
