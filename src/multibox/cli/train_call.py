"""Calls the training with what was typed, and shows what came of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from multibox.cli.train_words import options_of

if TYPE_CHECKING:
    from multibox.training.train import TrainResult


def run(
    given: dict[str, Any], config: Path | None, resumed: Path | None, quiet: bool, rank: int, find: dict[str, bool]
) -> TrainResult | None:
    """Calls the training with the options that were given; none where only an option was to be found."""
    # GNU OpenMP's threads spin long while they wait: beside any other busy process a step then takes several times as
    # long. A short spin loses 5 % on a quiet machine. It is read when torch is loaded, so it is set before that.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    from multibox.cli.find import find_options
    from multibox.cli.logs import logs_to_stderr
    from multibox.errors import UsageError
    from multibox.training import train as room

    with logs_to_stderr(quiet, rank):
        if resumed is not None:
            fixed = [
                key for key in ("data", "model", "recipe", "weights", "backbone", "imgsz", "names") if key in given
            ]
            if fixed or config:
                raise UsageError(f"--resume goes on as the run began; leave out --{fixed[0] if fixed else 'config'}")
            return room.resume(resumed, given)
        options = options_of(given, config)
        if any(find.values()):
            find_options(options, **find)
            return None
        return room.train(options)


def show(result: TrainResult, json: bool) -> None:
    """The outcome on stdout."""
    if json:
        from json import dumps

        typer.echo(dumps(result.as_dict(), indent=2))
        return
    typer.echo(f"run      {result.folder}")
    typer.echo(f"weights  {result.weights}")
    typer.echo(f"epochs   {result.epochs}{' (interrupted; --resume goes on)' if result.interrupted else ''}")
    for name in ("AP", "AP50"):
        if name in result.metrics:
            typer.echo(f"{name:<8} {result.metrics[name]:.4f}")
