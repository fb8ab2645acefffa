"""MXNet's `.params`: a list of named arrays, little endian.

An array is a magic number (its version), for versions 2 and 3 the kind of storage, then its shape, device, type of
numbers and data. Source: `NDArray::Save` and `NDArray::Load` of MXNet 1.9.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from multibox.errors import ModelError
from multibox.weights.importers.contract import Foreign

_LIST = struct.pack("<QQ", 0x112, 0)
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE = 0
_TYPES = ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "?")
"""By MXNet's number of the type."""
_MOST_AXES = 32
_PREFIXES = ("arg:", "aux:")
"""Of names in files that belong to an exported symbol: learnt arrays, running statistics."""


def looks_like(head: bytes) -> bool:
    """Whether a file that begins so is a list of arrays."""
    return head.startswith(_LIST)


def read(path: Path) -> Foreign:
    """The arrays of a file. Raises `ModelError` for one that is cut off, or that holds more than plain arrays."""
    try:
        return _parse(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def _parse(data: bytes) -> Foreign:
    """The arrays under their names, without the prefixes of an exported symbol."""
    if not looks_like(data):
        raise ModelError("not a list of MXNet arrays")
    reader = _Reader(data)
    reader.take(len(_LIST))
    arrays = [_read_array(reader) for _ in range(reader.count())]
    names = [reader.take(reader.count()).decode("utf-8", "replace") for _ in range(reader.count())]
    if len(names) != len(arrays):
        raise ModelError(f"holds {len(arrays)} arrays but {len(names)} names; save it with `save_parameters`")
    for prefix in _PREFIXES:
        names = [name.removeprefix(prefix) for name in names]
    state = {name: array for name, array in zip(names, arrays, strict=True) if array is not None}
    if not state:
        raise ModelError("holds no arrays")
    return Foreign(state=state, about={"format": "mxnet"})


class _Reader:
    """Takes numbers and bytes off the data in turn."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = memoryview(data), 0

    def take(self, size: int) -> bytes:
        """The next bytes. Raises `ModelError` where so many are not left."""
        if size > len(self._data) - self._at:
            raise ModelError("cut off or damaged; copy it again")
        self._at += size
        return bytes(self._data[self._at - size : self._at])

    def number(self, form: str) -> int:
        """One number of that `struct` form."""
        return int(struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0])

    def count(self) -> int:
        """How many parts follow, each of them at least one byte."""
        count = self.number("Q")
        if count > len(self._data) - self._at:
            raise ModelError("cut off or damaged; copy it again")
        return count


def _read_array(reader: _Reader) -> Tensor | None:
    """One array; none where it was never given a shape. Raises `ModelError` for what is no plain array."""
    version = reader.number("I")
    if version not in (_V1, _V2, _V3):
        raise ModelError(f"holds an array of the unknown version {version:#x}; save it again with MXNet 1.x")
    if version != _V1 and reader.number("i") != _DENSE:
        raise ModelError("holds sparse arrays; save it with dense ones")
    axes = reader.number("i")
    if axes > _MOST_AXES:
        raise ModelError("cut off or damaged; copy it again")
    shape = [reader.number("q") for _ in range(axes)]
    # before version 3 an array without axes is one without a value
    if axes < 0 or min(shape, default=0) < 0 or (axes == 0 and version != _V3):
        return None
    reader.take(8)  # the device it lay on
    kind = reader.number("i")
    if not 0 <= kind < len(_TYPES):
        raise ModelError(f"holds numbers of the unknown type {kind}; save it with float32")
    form = np.dtype(_TYPES[kind])
    values = np.frombuffer(reader.take(math.prod(shape) * form.itemsize), form)
    return torch.from_numpy(values.reshape(shape).astype(form.newbyteorder("="), copy=True))
