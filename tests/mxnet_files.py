"""Writes MXNet's `.params`, for the tests of what reads them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TYPES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6, "bool": 7}
"""MXNet's number of each type."""


def array_bytes(array: NDArray[np.generic], version: int = 2, storage: int = 0) -> bytes:
    """One array as MXNet 1.x writes it: magic, storage (not in version 1), shape, device, type, data."""
    head = struct.pack("<I", 0xF993FAC7 + version)
    if version > 1:
        head += struct.pack("<i", storage)
    shape = struct.pack(f"<i{array.ndim}q", array.ndim, *array.shape)
    return head + shape + struct.pack("<iii", 2, 1, TYPES[array.dtype.name]) + array.tobytes()


def list_bytes(arrays: list[bytes], names: list[str]) -> bytes:
    """A list of arrays, then their names."""
    words = b"".join(struct.pack("<Q", len(name)) + name.encode() for name in names)
    count = struct.pack("<Q", len(arrays))
    return struct.pack("<QQ", 0x112, 0) + count + b"".join(arrays) + struct.pack("<Q", len(names)) + words


def write_params(path: Path, arrays: dict[str, NDArray[np.generic]], version: int = 2) -> Path:
    """A whole file."""
    path.write_bytes(list_bytes([array_bytes(array, version) for array in arrays.values()], list(arrays)))
    return path
