"""An exported file as bytes, and what it says about itself, read without any ONNX library.

An ONNX file is one protobuf message. Walking over its top-level fields, the graph skipped by its length, takes
microseconds; no runtime needs to open the model for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from multibox.errors import ModelError
from multibox.prediction.engines.description import KEY, read_description
from multibox.prediction.engines.file import ModelFile, read_bytes

_GRAPH, _METADATA = 7, 14
"""Field numbers of onnx.ModelProto."""


def read_onnx(path: str | Path) -> ModelFile:
    """Reads a file that `multibox export` made. Raises `ModelError` for a missing, truncated or foreign one."""
    path = Path(path)
    return parse_onnx(read_bytes(path), path)


def parse_onnx(data: bytes, path: Path) -> ModelFile:
    """As `read_onnx`, for the content of a file; `path` serves messages."""
    try:
        fields = list(_fields(memoryview(data)))
        entries = dict(_entry(value) for number, value in fields if number == _METADATA)
    except (IndexError, UnicodeDecodeError):
        raise ModelError(f"{path}: not a whole ONNX file; it was cut off, or is something else") from None
    if all(number != _GRAPH for number, _ in fields):
        raise ModelError(f"{path}: not an ONNX model")
    if KEY not in entries:
        raise ModelError(f"{path}: an ONNX model that multibox did not export; make one with 'multibox export'")
    return ModelFile(path, data, read_description(entries[KEY], path))


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(number, payload) of every field of a protobuf message. Raises `IndexError` where it is not a whole one."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire, start = tag & 7, at
        if wire == 0:
            _, at = _varint(data, at)
        elif wire == 2:
            length, start = _varint(data, at)
            at = start + length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise IndexError(wire)
        if at > len(data) or tag >> 3 == 0:
            raise IndexError(at)
        yield tag >> 3, data[start:at]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A variable-length number at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise IndexError(at)


def _entry(data: memoryview) -> tuple[str, str]:
    """Key and value of a StringStringEntryProto."""
    parts = {number: bytes(value).decode() for number, value in _fields(data)}
    return parts.get(1, ""), parts.get(2, "")
