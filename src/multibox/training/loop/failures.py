"""What goes wrong below us while a network learns, as one sentence that says what to change."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from multibox.errors import MultiboxError
from multibox.training.options import TrainOptions

_NO_MEMORY = ("can't allocate memory", "Insufficient memory", "out of memory")
_DEAD_WORKER = "DataLoader worker (pid"


class OutOfMemory(MultiboxError):
    """A step did not fit."""


@contextmanager
def explained(options: TrainOptions) -> Iterator[None]:
    """Raises `OutOfMemory` and other `MultiboxError`s for what torch and the system raise inside."""
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        sentence = _explain(error, options)
        if sentence is None:
            raise
        raise sentence from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or the machine had no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def _explain(error: Exception, options: TrainOptions) -> MultiboxError | None:
    """The sentence; none for what is not known."""
    said = " ".join((str(error).splitlines() or [""])[0].split()).rstrip(".")
    if _DEAD_WORKER in said:
        return MultiboxError(
            f"a process that reads images ended before its time ({said}): often memory was short, so use fewer "
            "--workers or a smaller --batch; --workers 0 shows what else it may be, and --resume goes on"
        )
    if is_out_of_memory(error):
        return OutOfMemory(
            f"out of memory in batches of {options.batch} images ({said}): lower --batch or --imgsz, use --amp bf16, "
            "or let --auto-batch halve the batch and accumulate"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MultiboxError(f"{error.filename or 'the run folder'}: no room is left; make some, then use --resume")
    return None
