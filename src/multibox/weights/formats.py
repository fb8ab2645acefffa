"""The kinds of files that foreign weights come in, told by their first bytes, and what reads each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from multibox.errors import ModelError
from multibox.weights.importers import Foreign, Imported, caffemodel, mindspore, mxnet_params
from multibox.weights.pickles import read_pickle

HEAD = 4096
"""How many bytes of a file `Format.looks_like` is given (fewer where the file is shorter)."""

_WRAPPERS = ("state_dict", "model")
_PREFIXES = ("module.1.", "module.")
"""Left by torch's DataParallel, and by NVIDIA's network behind its normalisation."""


class Format(NamedTuple):
    """One kind of file. `read` raises `ModelError`, naming the file, where it is cut off or damaged.

    It gives tensors under foreign keys for the importers, or ours where the format belongs to one codebase alone.
    """

    looks_like: Callable[[bytes], bool]
    read: Callable[[Path], Foreign | Imported]


def unwrap(path: Path, loaded: object) -> Foreign:
    """The state dict inside the usual wrappers, without the prefixes of parallel training; the rest is `about`."""
    about: dict[str, Any] = {}
    for name in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            about |= {key: value for key, value in loaded.items() if key != name and isinstance(key, str)}
            loaded = loaded[name]
    if not isinstance(loaded, Mapping):
        raise ModelError(f"{path}: holds a {type(loaded).__name__}, not a state dict of tensors")
    state = {key: value for key, value in loaded.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not state:
        raise ModelError(f"{path}: holds no tensors")
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return Foreign(state=state, about=about)


def as_float32(path: Path, key: str, value: Tensor) -> Tensor:
    """A foreign tensor, in float32 where it holds fractions in another precision.

    Raises `ModelError` for one that is not plain, or that claims more elements than the file holds.
    """
    if value.layout is not torch.strided or value.is_quantized or value.is_meta or value.is_complex():
        raise ModelError(f"{path}: '{key}' is no plain tensor; save the model's state_dict before it is quantised")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ModelError(f"{path}: '{key}' claims {value.numel():,} elements, more than the file holds")
    return value.float() if value.is_floating_point() else value


def _is_torch(head: bytes) -> bool:
    """An archive of `torch.save`, or a bare pickle of torch before 1.6."""
    return head[:2] == b"PK" or head[:1] == b"\x80"


def _read_torch(path: Path) -> Foreign:
    """What `torch.save` wrote."""
    return unwrap(path, read_pickle(path))


def _is_tflite(head: bytes) -> bool:
    """A FlatBuffer of TensorFlow Lite."""
    return head[4:8] == b"TFL3"


def _read_tflite(path: Path) -> Imported:
    """A detector of TensorFlow's object detection API."""
    # here, as reading a FlatBuffer is of no use to the other kinds
    from multibox.weights.importers import tflite

    return tflite.read(path)


FORMATS: tuple[Format, ...] = (
    Format(_is_tflite, _read_tflite),
    Format(_is_torch, _read_torch),
    Format(mxnet_params.looks_like, mxnet_params.read),
    Format(mindspore.looks_like, mindspore.read),
    Format(caffemodel.looks_like, caffemodel.read),
)
"""Every kind, asked in this order; protocol buffers have no magic number, so they come last."""
