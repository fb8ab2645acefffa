"""Our own checkpoints: one safetensors file that holds weights, spec, metrics and training arguments."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from multibox.errors import ModelError
from multibox.sheet import from_json, to_json
from multibox.spec import ModelSpec

KEY = "multibox"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a file holds: the spec, the tensors under our keys, measured metrics, and how it was trained."""

    spec: ModelSpec
    state: dict[str, Tensor]
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


def save(
    path: str | Path,
    state: dict[str, Tensor],
    spec: ModelSpec,
    *,
    metrics: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
) -> None:
    """Writes the file whole or not at all (a neighbour is written first, then renamed). Metrics are plain JSON values.

    Raises `ModelError` where it cannot be written.
    """
    path = Path(path)
    about = {
        "version": VERSION,
        "spec": json.loads(to_json(spec)),
        "metrics": metrics or {},
        "training": training or {},
    }
    # safetensors takes neither views of one storage nor strides; EMA and tied tensors may be both
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # not save_file, which makes a file that only its owner may read
        draft.write_bytes(serialize(tensors, metadata={KEY: json.dumps(about)}))
        draft.replace(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: the checkpoint cannot be written ({error})") from error
    finally:
        draft.unlink(missing_ok=True)


def load(path: str | Path) -> Checkpoint:
    """The checkpoint that `save` wrote: `load(path).state` equals the saved tensors bit by bit.

    Raises `ModelError` for a file that is absent, cut off, not safetensors, or not ours.
    """
    path = Path(path)
    about, state = read_tensors(path)
    if about is None:
        raise ModelError(f"{path}: safetensors without multibox's description; give a file that multibox wrote")
    return described(path, about, state)


def read_tensors(path: Path) -> tuple[str | None, dict[str, Tensor]]:
    """Our description (none in another codebase's file) and the tensors of any safetensors file.

    Raises `ModelError` for a file that is absent, cut off or not safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = (file.metadata() or {}).get(KEY)
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: not a whole safetensors file ({error}); copy or train it again") from None


def described(path: Path, text: str, state: dict[str, Tensor]) -> Checkpoint:
    """The checkpoint of a file's own description and its tensors. Raises `ModelError` for a damaged description."""
    try:
        about = json.loads(text)
        version, spec = int(about["version"]), json.dumps(about["spec"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ModelError(f"{path}: its multibox description is damaged; copy or train it again") from None
    if version > VERSION:
        raise ModelError(f"{path}: written by a newer multibox (format {version}); upgrade multibox to read it")
    return Checkpoint(
        spec=from_json(spec, str(path)),
        state=state,
        metrics=about.get("metrics") or {},
        training=about.get("training") or {},
    )
