"""`multibox version`."""

from __future__ import annotations

import typer


def version() -> None:
    """Print the version."""
    import multibox

    typer.echo(multibox.__version__)
