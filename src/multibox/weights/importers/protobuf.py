"""Reads the wire format of protocol buffers, as .caffemodel and MindSpore's .ckpt files have it, without their schemas.

Source: the page "Encoding" of the Protocol Buffers documentation. A message is a row of fields, each a number of the
schema, a wire type and a value; what a number means the caller knows. Only reading; values are not copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ModelError

Buffer: TypeAlias = bytes | memoryview
Value: TypeAlias = int | memoryview
"""An int where the wire type is 0 (varint), else the field's bytes: a submessage, text, packed numbers, or one fixed
number of 8 (wire type 1) or 4 bytes (wire type 5)."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types; groups (3 and 4), which no schema of this century has, are not read."""
_WIDTHS = {FIXED64: 8, FIXED32: 4}
_LONGEST = 10
"""Bytes of the longest varint, which holds 64 bits."""


class Field(NamedTuple):
    """One field of a message."""

    number: int
    wire: int
    value: Value


def fields(message: Buffer, *, beginning: bool = False) -> Iterator[Field]:
    """The fields of a message in the order of the file.

    Of the `beginning` of a message the last bytes may be a part of theirs. Raises `ModelError`, once it gets there,
    where the message is cut off or is no protocol buffer.
    """
    data = memoryview(message)
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if number == 0 or wire not in (VARINT, FIXED64, BYTES, FIXED32):
            raise ModelError(f"not a protocol buffer: byte {at - 1} starts no field")
        if wire == VARINT:
            value, at = _varint(data, at)
            yield Field(number, wire, value)
            continue
        size = _WIDTHS.get(wire, 0)
        if wire == BYTES:
            size, at = _varint(data, at)
        if size > end - at and not beginning:
            raise ModelError(f"cut off: a field of {size} bytes has {end - at} left")
        yield Field(number, wire, data[at : at + size])
        at += size


def by_number(message: Buffer) -> dict[int, list[Value]]:
    """The values of a message by the number of their field, each list in the order of the file.

    Raises `ModelError` as `fields` does.
    """
    values: dict[int, list[Value]] = {}
    for number, _, value in fields(message):
        values.setdefault(number, []).append(value)
    return values


def messages(values: Sequence[Value]) -> list[memoryview]:
    """The values of a field that holds submessages (or bytes). Raises `ModelError` where one is a number."""
    return [_bytes(value) for value in values]


def text(value: Value) -> str:
    """A value that is text. Raises `ModelError` where it is a number."""
    return bytes(_bytes(value)).decode("utf-8", "replace")


def floats(values: Sequence[Value], dtype: str = "<f4") -> NDArray[np.generic]:
    """The numbers of a repeated field of fixed width, packed or one by one; `dtype` is "<f4" or "<f8".

    The array is read-only, and a view of the message where the field is one packed block. Raises `ModelError` where the
    bytes do not make whole numbers.
    """
    blocks = messages(values)
    data = blocks[0] if len(blocks) == 1 else b"".join(blocks)
    width = np.dtype(dtype).itemsize
    if len(data) % width:
        raise ModelError(f"{len(data)} bytes do not make whole numbers of {width} bytes")
    return np.frombuffer(data, dtype)


def integers(values: Sequence[Value]) -> list[int]:
    """The numbers of a repeated varint field, packed or one by one. Raises `ModelError` where a block is cut off."""
    numbers: list[int] = []
    for value in values:
        if isinstance(value, int):
            numbers.append(value)
            continue
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            numbers.append(number)
    return numbers


def _bytes(value: Value) -> memoryview:
    """The bytes of a value that should have some."""
    if isinstance(value, int):
        raise ModelError("not the expected protocol buffer: a number stands where bytes should")
    return value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The unsigned number that starts at byte `at`, seven bits per byte, and where it ends."""
    number = 0
    for place, byte in enumerate(data[at : at + _LONGEST]):
        number |= (byte & 127) << 7 * place
        if byte < 128:
            return number, at + place + 1
    raise ModelError("cut off inside a number" if len(data) - at < _LONGEST else "not a protocol buffer")
