"""A MindSpore .ckpt as tensors: a protocol buffer of parameters, each with its name, shape, type and bytes.

Source: `checkpoint.proto` and `train/serialization.py` of MindSpore. A parameter of more than 512 MB stands there in
pieces, several entries of one name in a row, each with the shape of the whole.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from multibox.errors import ModelError
from multibox.weights.importers.contract import Foreign
from multibox.weights.importers.protobuf import by_number, fields, integers, messages, text

FORMAT = "mindspore"
"""`Foreign.about["format"]` of such a file."""

_ENTRY = 1
_NAME, _TENSOR = 1, 2
_SHAPE, _TYPE, _CONTENT = 1, 2, 3
_START = re.compile(rb"\x0a[\x80-\xff]*[\x00-\x7f]\x0a[\x80-\xff]?[\x00-\x7f][\x20-\x7e]+\x12")
"""Entry and its length, name and its length, the name, tensor."""
_CHECKSUM, _CHECKSUM_SIZE = b"crc_num", 10
"""What stands behind the buffer where the file was saved with `crc_check`: this word and a number, high byte first."""

_TYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
_NO_TENSORS = ("str", "random_op")
"""Types of entries that are notes or states of random generators."""
_TRAINING = {
    "moments",
    "moment1",
    "moment2",
    "accum",
    "momentum",
    "beta1_power",
    "beta2_power",
    "learning_rate",
    "global_step",
    "step_num",
    "epoch_num",
    "batch_num",
    "loss_scale",
    "scale_sense",
    "current_iterator_step",
    "last_overflow_iterator_step",
}
"""First words of names that belong to MindSpore's optimisers and loss scaling, not to the network."""


class _Entry(NamedTuple):
    """A parameter, or a piece of one."""

    name: str
    shape: tuple[int, ...]
    kind: str
    content: memoryview


def looks_like(head: bytes) -> bool:
    """Whether these first bytes are those of an entry: its name, which is plain text, then its tensor."""
    return _START.match(head) is not None


def read(path: Path) -> Foreign:
    """The parameters of the network, those of half precision as float32; states of optimisers are left out.

    Raises `ModelError` naming the file where it is cut off or damaged.
    """
    try:
        return Foreign(state=_read(path.read_bytes()), about={"format": FORMAT})
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except ModelError as error:
        raise ModelError(f"{path}: not a whole MindSpore checkpoint ({error}); copy it again") from None


def _read(data: bytes) -> dict[str, Tensor]:
    """All parameters in the order of the file."""
    state: dict[str, Tensor] = {}
    for name, pieces in groupby(_entries(_unchecked(data)), key=lambda entry: entry.name):
        state[name] = _tensor(list(pieces))
    if not state:
        raise ModelError("no parameter of a network in it")
    return state


def _unchecked(data: bytes) -> memoryview:
    """The buffer without the checksum that may follow it."""
    body = memoryview(data)
    split = len(data) - _CHECKSUM_SIZE
    if data[split - len(_CHECKSUM) : split] != _CHECKSUM:
        return body
    body = body[: split - len(_CHECKSUM)]
    if zlib.crc32(body) != int.from_bytes(data[split:], "big"):
        raise ModelError("its checksum does not agree")
    return body


def _entries(buffer: memoryview) -> Iterator[_Entry]:
    """The entries that are tensors of the network."""
    for number, _, value in fields(buffer):
        if number != _ENTRY:
            raise ModelError(f"field {number} stands where a parameter should")
        entry = by_number(messages([value])[0])
        if _NAME not in entry or _TENSOR not in entry:
            continue
        name, tensor = text(entry[_NAME][0]), by_number(messages(entry[_TENSOR])[0])
        kind = text(tensor[_TYPE][0]) if _TYPE in tensor else ""
        if kind in _NO_TENSORS or name.partition(".")[0] in _TRAINING:
            continue
        content = messages(tensor[_CONTENT])[0] if _CONTENT in tensor else memoryview(b"")
        yield _Entry(name, tuple(integers(tensor.get(_SHAPE, []))), kind, content)


def _tensor(pieces: list[_Entry]) -> Tensor:
    """One parameter out of its pieces."""
    name, shape, kind, _ = pieces[0]
    dtype = _TYPES.get(kind.lower())
    if dtype is None:
        raise ModelError(f"parameter '{name}' is of type '{kind}', which is not read")
    shape = () if shape == (0,) else shape  # how a single number is written
    content = bytearray().join(piece.content for piece in pieces)
    wanted = math.prod(shape) * dtype.itemsize
    if len(content) != wanted:
        raise ModelError(f"parameter '{name}' has {len(content)} bytes, its shape {list(shape)} needs {wanted}")
    tensor = torch.frombuffer(content, dtype=dtype) if content else torch.zeros(0, dtype=dtype)
    return (tensor.float() if dtype in (torch.float16, torch.bfloat16) else tensor).reshape(shape)
