"""Checkpoints to go on from: on disk whole or not at all, and the previous one stays until the next is written."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from multibox.errors import ModelError, MultiboxError
from multibox.results.files import part_of

log = logging.getLogger(__name__)

State = dict[str, Any]


class CheckpointFiles(TorchCheckpointIO):  # type: ignore[misc]
    """How Lightning writes: with `write_checkpoint`."""

    def save_checkpoint(self, checkpoint: State, path: str | Path, storage_options: Any | None = None) -> None:
        """Raises `MultiboxError` where the disk is full."""
        write_checkpoint(checkpoint, Path(path))


def write_checkpoint(state: State, path: Path) -> None:
    """Writes and syncs a neighbour, then renames: whenever the machine stops, `path` or the previous one is whole.

    What `path` was before is kept as `previous_of(path)`. Raises `MultiboxError` (a full disk); both files stay then.
    """
    draft = part_of(path)
    try:
        with draft.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            path.replace(previous_of(path))
        draft.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__  # torch hides what its writer was told
        if not isinstance(cause, OSError):
            raise
        raise MultiboxError(
            f"{path}: the checkpoint cannot be written ({cause.strerror or cause}); the one before is kept: make room, "
            "then go on with --resume"
        ) from None
    finally:
        draft.unlink(missing_ok=True)


def newest_checkpoint(path: Path) -> tuple[Path, State]:
    """`path` and what it holds, or the previous one where `path` is absent or broken, which is said.

    Raises `ModelError` where neither can be read.
    """
    problems = []
    for candidate in (path, previous_of(path)):
        try:
            state = torch.load(candidate, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            problems.append(f"{candidate.name} is absent")
        except Exception:  # torch has no one type, and no one sentence, for a file that it cannot read
            problems.append(f"{candidate.name} is broken")
        else:
            if problems:
                log.warning("%s; going on from %s", problems[0], candidate)
            return candidate, state
    raise ModelError(f"{path.parent}: no checkpoint to go on from ({'; '.join(problems)}); start the run again")


def previous_of(path: Path) -> Path:
    """`last.ckpt` -> `last.prev.ckpt`."""
    return path.with_name(f"{path.stem}.prev{path.suffix}")


def remove_drafts(folder: Path) -> None:
    """Takes away what killed runs left half-written."""
    for draft in folder.glob(".*.part*"):
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes renames last through a power failure, where the system can open folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
