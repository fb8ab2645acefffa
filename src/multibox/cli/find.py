"""`multibox train --find-lr`, `--find-batch`: a number for an option, instead of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from multibox.errors import UsageError
from multibox.training.processes.launched import find_processes

if TYPE_CHECKING:
    from multibox.training.options import TrainOptions


def find_options(options: TrainOptions, *, lr: bool, batch: bool) -> None:
    """Prints the option that was found: `lr0      0.012`, `batch    64`. Raises `UsageError` in several processes."""
    from multibox.training.finders import find_batch, find_rate

    processes = find_processes()
    if processes.world > 1:
        raise UsageError(f"--find-lr and --find-batch look in one process; start them without {processes.launcher}")
    if batch:
        typer.echo(f"batch    {find_batch(options)}")
    if lr:
        found = find_rate(options)
        typer.echo(f"lr0      {found.suggestion:.2g}")
        typer.echo(f"plot     {found.plot}")
