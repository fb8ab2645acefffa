"""The command `multibox`: words typed -> one function called. A verb's module is imported when the verb is used."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from multibox.cli.failures import exit_code
from multibox.cli.verbs import VERBS, VerbGroup

app = typer.Typer(
    name="multibox",
    cls=VerbGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _multibox(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure (also MULTIBOX_DEBUG=1).")
    ] = False,
) -> None:
    """Detect, train, evaluate and export with the SSD family. Options are written --conf 0.3 or conf=0.3."""


def main(words: Sequence[str] | None = None) -> None:
    """Runs the command line `words` (those typed, where None) and exits: 0, or the code of the failure's kind."""
    typed = list(sys.argv[1:] if words is None else words)
    debug = "--debug" in typed or os.environ.get("MULTIBOX_DEBUG", "0") not in ("", "0")
    typed = [word for word in typed if word != "--debug"]  # taken anywhere, not only before the verb
    try:
        app(typed, prog_name="multibox")
    except Exception as error:
        if debug:
            raise
        sys.exit(exit_code(error))


def _as_listed() -> None:
    """Stands for a verb in the list of verbs; `VerbGroup` puts the real one in its place."""


for _verb in VERBS:
    app.command(_verb.name, help=_verb.help, hidden=_verb.hidden)(_as_listed)
