"""A weights file of any known kind -> tensors under our keys; the kind is told by content, never by the file's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from multibox.errors import ModelError
from multibox.spec import ModelSpec
from multibox.weights import archives, checkpoint
from multibox.weights.formats import FORMATS, HEAD, as_float32, unwrap
from multibox.weights.importers import IMPORTERS, Foreign, Imported

_MISSHAPEN = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
"""What the arithmetic of an importer raises where a tensor has another shape than its codebase gives it."""


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
            head = file.read(HEAD)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not head:
        raise ModelError(f"{path}: is empty, not a weights file; copy it again")
    member = archives.weights_inside(path) if archives.is_archive(head) else None
    return _read(path, head) if member is None else _read_member(path, member)


def _read_member(path: Path, member: str) -> Loaded:
    """The one weights file of an archive."""
    with TemporaryDirectory() as folder:
        inner = archives.take_out(path, member, Path(folder))
        try:
            with inner.open("rb") as file:
                return _read(inner, file.read(HEAD))
        except ModelError as error:
            raise ModelError(str(error).replace(str(inner), f"{path} ({member})")) from None


def _read(path: Path, head: bytes) -> Loaded:
    """A file that begins with `head`."""
    if head[8:9] == b"{":
        return _read_safetensors(path)
    for kind in FORMATS:
        if kind.looks_like(head):
            return _import(path, kind.read(path))
    raise ModelError(
        f"{path}: not a weights file; give a .safetensors of multibox, a torch checkpoint, a .tflite, a .caffemodel, "
        "a MindSpore .ckpt or an MXNet .params"
    )


def _read_safetensors(path: Path) -> Loaded:
    """A file of our own, or the tensors of another codebase in that format."""
    about, state = checkpoint.read_tensors(path)
    if about is None:
        return _import(path, unwrap(path, state))
    ours = checkpoint.described(path, about, state)
    return Loaded(spec=ours.spec, state=ours.state, metrics=ours.metrics, training=ours.training)


def _import(path: Path, given: Foreign | Imported) -> Loaded:
    """Asks every importer whether the file is of its codebase, unless its format says so already."""
    found = given if isinstance(given, Imported) else _ask_importers(path, given)
    return Loaded(sheet=found.sheet, names=found.names, changes=found.changes, state=found.state)


def _ask_importers(path: Path, foreign: Foreign) -> Imported:
    """What the first importer that knows the keys makes of them, in float32."""
    foreign = replace(foreign, state={key: as_float32(path, key, value) for key, value in foreign.state.items()})
    for importer in IMPORTERS:
        try:
            found = importer(foreign)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None
        except _MISSHAPEN as error:
            codebase, why = importer.__module__.rpartition(".")[2], " ".join(str(error).split())
            raise ModelError(f"{path}: has keys of {codebase}, but tensors of other shapes than it ({why})") from error
        if found is not None:
            return found
    first = next(iter(foreign.state))
    raise ModelError(f"{path}: no importer knows these {len(foreign.state)} tensors (the first is '{first}')")
