"""`multibox train --dry-run`: what a training would be, a line per fact, or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from multibox.cli.listing import make_console
from multibox.cli.train_words import options_of

_WIDTH = 160
"""Where there is no terminal."""


def preview(given: dict[str, Any], config: Path | None, resumed: Path | None, quiet: bool, json: bool) -> None:
    """Prints what a training would be."""
    from multibox.cli.logs import logs_to_stderr
    from multibox.errors import UsageError
    from multibox.training.dry_run import dry_run

    if resumed is not None:
        raise UsageError("--dry-run shows a new run; leave out --resume, or give its options: --config RUN/args.yaml")
    with logs_to_stderr(quiet):
        report = dry_run(options_of(given, config))
    if json:
        from json import dumps

        typer.echo(dumps(report, indent=2, ensure_ascii=False))
        return
    show(report)


def show(report: dict[str, dict[str, Any]]) -> None:
    """Prints what `training.dry_run` found to stdout."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for subject, facts in report.items():
        for row, (name, value) in enumerate(facts.items()):
            if (words := as_words(value)) != "":
                table.add_row(subject if row == 0 else "", name.replace("_", " "), words)
    make_console(_WIDTH).print(table, markup=False)


def as_words(value: Any) -> str:
    """A fact as a person reads it; parts of parts on lines of their own."""
    if isinstance(value, dict):
        nested = any(isinstance(part, dict) for part in value.values())
        pairs = [f"{key} {as_words(part)}" for key, part in value.items() if part not in (None, [], "")]
        return ("\n" if nested else ", ").join(pairs)
    if isinstance(value, list | tuple):
        lines = any(isinstance(part, dict) or (isinstance(part, str) and " " in part) for part in value)
        return ("\n" if lines else " ").join(map(as_words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)
