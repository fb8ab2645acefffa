"""Writes MindSpore's .ckpt files, as its `save_checkpoint` does."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def checkpoint(state: Mapping[str, Tensor], piece: int = 1 << 29, checksum: bool = False) -> bytes:
    """The file of these parameters, those of more than `piece` bytes in pieces."""
    entries = []
    for name, tensor in state.items():
        content = tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        parts = [content[at : at + piece] for at in range(0, len(content), piece)] or [b""]
        entries += [entry(name, list(tensor.shape) or [0], _kind(tensor), part) for part in parts]
    data = b"".join(entries)
    return data + b"crc_num" + zlib.crc32(data).to_bytes(10, "big") if checksum else data


def entry(name: str, shape: Sequence[int], kind: str, content: bytes) -> bytes:
    """One parameter, or a piece of one."""
    tensor = b"".join(b"\x08" + _varint(side) for side in shape) + _field(2, kind.encode()) + _field(3, content)
    return _field(1, _field(1, name.encode()) + _field(2, tensor))


def _kind(tensor: Tensor) -> str:
    """MindSpore's name of a type: Float32, BFloat16, UInt8, Bool."""
    name = str(tensor.dtype).removeprefix("torch.")
    return {"bfloat16": "BFloat16", "uint8": "UInt8"}.get(name, name.capitalize())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + _varint(number >> 7)
