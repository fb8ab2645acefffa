"""`multibox train --find-lr`, `--find-batch`: a number for an option, instead of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from multibox.training.options import TrainOptions


def find_options(options: TrainOptions, *, lr: bool, batch: bool) -> None:
    """Prints the option that was found: `lr0      0.012`, `batch    64`."""
    from multibox.training.finders import find_batch, find_rate

    if batch:
        typer.echo(f"batch    {find_batch(options)}")
    if lr:
        found = find_rate(options)
        typer.echo(f"lr0      {found.suggestion:.2g}")
        typer.echo(f"plot     {found.plot}")
