"""The options about tiles, which `predict` and `evaluate` share, and what they mean."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from multibox.errors import UsageError

if TYPE_CHECKING:
    from multibox.prediction.tiles import Tiles

TilesOption = Annotated[
    str | None,
    typer.Option(
        "--tiles", metavar="WxH", help="Look at large pictures in tiles of so many pixels, as 640x640 or 640."
    ),
]
OverlapOption = Annotated[float, typer.Option(help="How far tiles overlap, as a share of their sides.")]
WholeOption = Annotated[
    bool, typer.Option("--tile-whole/--no-tile-whole", help="Look at the whole picture as well as at its tiles.")
]


def tiles_of(words: str | None, overlap: float, whole: bool) -> Tiles | None:
    """The tiles that are asked for, if any. Raises `UsageError` for words that say no size."""
    if words is None:
        return None
    from multibox.prediction.tiles import Tiles

    sides = re.fullmatch(r"(\d{1,6})(?:[x,X](\d{1,6}))?", words.strip())
    if sides is None:
        raise UsageError(f"tiles are given as WIDTHxHEIGHT in pixels, for example 640x640, not '{words}'")
    return Tiles(int(sides[1]), int(sides[2] or sides[1]), overlap, whole)
