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
from multibox.weights.importers import IMPORTERS, Foreign

_WRAPPERS = ("state_dict", "model")
_PREFIXES = ("module.1.", "module.")
"""Left by torch's DataParallel, and by NVIDIA's network behind its normalisation."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Tensors under our keys, with the spec (our own files) or the name of the sheet they belong to (foreign files).

    `names` are the class names that a foreign file holds, and `changes` what else it says otherwise than its sheet, as
    dotted field -> value (`backbone.width` -> 0.5).
    """

    spec: ModelSpec | None = None
    sheet: str | None = None
    names: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    state: dict[str, Tensor]
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


def load_weights(path: str | Path) -> Loaded:
    """Reads our .safetensors, or a file of any codebase that has an importer: torch checkpoints, safetensors,
    .caffemodel, MindSpore's .ckpt, MXNet's .params, and TensorFlow's .tflite detectors.

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
        return _read_safetensors(path)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return _import(path, _unwrap(path, _read_pickle(path)))
    raise ModelError(f"{path}: not a weights file; give a .safetensors of multibox, a torch checkpoint or a .tflite")


def _read_safetensors(path: Path) -> Loaded:
    """A file of our own, or the tensors of another codebase in that format."""
    about, state = checkpoint.read_tensors(path)
    if about is None:
        return _import(path, _unwrap(path, state))
    ours = checkpoint.described(path, about, state)
    return Loaded(spec=ours.spec, state=ours.state, metrics=ours.metrics, training=ours.training)


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


def _unwrap(path: Path, loaded: object) -> Foreign:
    """The state dict inside the usual wrappers, without the prefixes of parallel training; the rest is `about`."""
    about: dict[str, Any] = {}
    for name in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            about |= {str(key): value for key, value in loaded.items() if key != name}
            loaded = loaded[name]
    if not isinstance(loaded, Mapping):
        raise ModelError(f"{path}: holds a {type(loaded).__name__}, not a state dict of tensors")
    state = {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}
    if not state:
        raise ModelError(f"{path}: holds no tensors")
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return Foreign(state=state, about=about)


def _import(path: Path, foreign: Foreign) -> Loaded:
    """Asks every importer whether the file is of its codebase."""
    for importer in IMPORTERS:
        try:
            found = importer(foreign)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None
        if found is not None:
            return Loaded(sheet=found.sheet, names=found.names, changes=found.changes, state=found.state)
    first = next(iter(foreign.state))
    raise ModelError(f"{path}: no importer knows these {len(foreign.state)} tensors (the first is '{first}')")
