"""What the verbs that list things share: `list [WORD]... [--json]`, `info NAME [--json]`, tables on stdout."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def make_group(sentence: str) -> typer.Typer:
    """The verb that `list` and `info` belong to."""
    names = {"help_option_names": ["-h", "--help"]}
    return typer.Typer(no_args_is_help=True, help=sentence, context_settings=names)


def has_all(texts: Iterable[str], words: list[str] | None) -> bool:
    """Whether every word stands in the texts, in any case."""
    text = " ".join(texts).casefold()
    return all(word.casefold() in text for word in words or [])


def make_console(width: int) -> Console:
    """Stdout as wide as the terminal; `width` columns where it is none."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = width
    return console
