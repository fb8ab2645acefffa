"""Reads FlatBuffers and FlexBuffers, the two encodings inside a .tflite file, with every offset checked.

Sources: the FlatBuffers internals page (tables, vtables, vectors) and the FlexBuffers page (typed, width-packed values)
of the FlatBuffers documentation. Only reading, and only what a TensorFlow Lite model uses.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ModelError

FlexValue: TypeAlias = "bool | int | float | str | list[FlexValue] | dict[str, FlexValue] | None"

_WIDTH_OF_KIND = {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8, "f": 4, "d": 8}
_SIGNED, _UNSIGNED, _FLOATS = {1: "b", 2: "h", 4: "i", 8: "q"}, {1: "B", 2: "H", 4: "I", 8: "Q"}, {4: "f", 8: "d"}
_MAX_DEPTH = 16


def number(data: bytes, kind: str, at: int) -> int | float:
    """The little-endian number of `struct` kind `kind` at byte `at`. Raises `ModelError` outside of the data."""
    if not 0 <= at <= len(data) - _WIDTH_OF_KIND[kind]:
        raise ModelError(f"not a readable FlatBuffer: offset {at} lies outside of its {len(data)} bytes")
    value: int | float = struct.unpack_from("<" + kind, data, at)[0]
    return value


def whole(data: bytes, kind: str, at: int) -> int:
    """The little-endian integer of `struct` kind `kind` at byte `at`. Raises `ModelError` outside of the data."""
    return int(number(data, kind, at))


def _slice(data: bytes, at: int, size: int) -> bytes:
    """`size` bytes from `at`. Raises `ModelError` where they are not all there."""
    if at < 0 or size < 0 or at + size > len(data):
        raise ModelError(f"not a readable FlatBuffer: {size} bytes at {at} lie outside of its {len(data)} bytes")
    return data[at : at + size]


@dataclass(frozen=True)
class Table:
    """One table of a FlatBuffer; fields are asked for by their number in the schema, absent ones give the default."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes, identifier: bytes) -> Table:
        """The root table. Raises `ModelError` where the four identifying bytes are others."""
        if data[4:8] != identifier:
            raise ModelError(f"not a FlatBuffer of kind '{identifier.decode()}'")
        return cls(data, whole(data, "I", 0))

    def _field(self, index: int) -> int:
        """The position of a field's value, 0 where the table does not hold it."""
        vtable = self.at - whole(self.data, "i", self.at)
        slot = 4 + 2 * index
        if slot >= whole(self.data, "H", vtable):
            return 0
        offset = whole(self.data, "H", vtable + slot)
        return self.at + offset if offset else 0

    def _pointed(self, index: int) -> int:
        """Where a field that holds an offset points to, 0 where the table does not hold it."""
        at = self._field(index)
        return at + whole(self.data, "I", at) if at else 0

    def integer(self, index: int, kind: str, default: int = 0) -> int:
        """An integer field of `struct` kind `kind`."""
        at = self._field(index)
        return whole(self.data, kind, at) if at else default

    def table(self, index: int) -> Table | None:
        """A field that is a table itself."""
        at = self._pointed(index)
        return Table(self.data, at) if at else None

    def tables(self, index: int) -> list[Table]:
        """A field that is a vector of tables."""
        at = self._pointed(index)
        if not at:
            return []
        count = whole(self.data, "I", at)
        _slice(self.data, at + 4, 4 * count)
        slots = range(at + 4, at + 4 + 4 * count, 4)
        return [Table(self.data, slot + whole(self.data, "I", slot)) for slot in slots]

    def array(self, index: int, dtype: str) -> NDArray[np.generic]:
        """A field that is a vector of numbers of NumPy `dtype` (read-only; empty where absent)."""
        at = self._pointed(index)
        kind = np.dtype(dtype).newbyteorder("<")
        if not at:
            return np.zeros(0, kind)
        count = whole(self.data, "I", at)
        return np.frombuffer(_slice(self.data, at + 4, count * kind.itemsize), kind)

    def text(self, index: int) -> str:
        """A field that is a string."""
        return self.array(index, "u1").tobytes().decode("utf-8", "replace")


def read_flex(data: bytes) -> FlexValue:
    """The value of a FlexBuffer: numbers, texts, lists, and maps as dicts. Raises `ModelError` for other content."""
    if len(data) < 3:
        raise ModelError(f"not a readable FlexBuffer: it has {len(data)} bytes")
    width = data[-1]
    if width not in _UNSIGNED:
        raise ModelError(f"not a readable FlexBuffer: its root is {width} bytes wide")
    return _flex(data, len(data) - 2 - width, width, data[-2], _MAX_DEPTH)


def _flex(data: bytes, at: int, width: int, packed: int, depth: int) -> FlexValue:
    """One value: `packed` holds its type in the upper six bits and the width of what it points to in the lower two."""
    if depth == 0:
        raise ModelError("not a readable FlexBuffer: nested too deeply")
    kind, child = packed >> 2, 1 << (packed & 3)
    if kind == 0:
        return None
    if kind in (1, 2, 26):
        value = whole(data, (_SIGNED if kind == 1 else _UNSIGNED)[width], at)
        return bool(value) if kind == 26 else value
    if kind == 3 and width in _FLOATS:
        return float(number(data, _FLOATS[width], at))
    target = at - whole(data, _UNSIGNED[width], at)
    if kind in (6, 7, 8):
        return (
            float(number(data, _FLOATS.get(child, "f"), target)) if kind == 8 else whole(data, _SIGNED[child], target)
        )
    if kind in (4, 5):
        return _flex_text(data, target, child if kind == 5 else 0)
    if kind == 9:
        return _flex_map(data, target, child, depth - 1)
    if kind == 10:
        return _flex_list(data, target, child, depth - 1)
    raise ModelError(f"not a readable FlexBuffer: type {kind} is not one that custom options use")


def _flex_text(data: bytes, at: int, width: int) -> str:
    """A string with its length before it, or a key (`width` 0) that a zero byte ends."""
    size = whole(data, _UNSIGNED[width], at - width) if width else data.find(b"\0", max(at, 0)) - at
    return _slice(data, at, size).decode("utf-8", "replace")


def _flex_list(data: bytes, at: int, width: int, depth: int) -> list[FlexValue]:
    """An untyped vector: its values, then one byte of type for each."""
    size = whole(data, _UNSIGNED[width], at - width)
    types = _slice(data, at + size * width, size)
    return [_flex(data, at + i * width, width, types[i], depth) for i in range(size)]


def _flex_map(data: bytes, at: int, width: int, depth: int) -> dict[str, FlexValue]:
    """A vector with, before it, the offset and the width of its typed vector of keys."""
    keys_at = at - 3 * width - whole(data, _UNSIGNED[width], at - 3 * width)
    keys_width = whole(data, _UNSIGNED[width], at - 2 * width)
    if keys_width not in _UNSIGNED:
        raise ModelError(f"not a readable FlexBuffer: keys are {keys_width} bytes wide")
    values = _flex_list(data, at, width, depth)
    slots = [keys_at + i * keys_width for i in range(len(values))]
    keys = [_flex_text(data, slot - whole(data, _UNSIGNED[keys_width], slot), 0) for slot in slots]
    return dict(zip(keys, values, strict=True))
