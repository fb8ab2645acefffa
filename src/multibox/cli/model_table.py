"""The list of models as a table: a line per full name where it fits, else the tags under their architecture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from multibox.spec import ModelSpec

TITLES = ("input", "params", "GMACs", "priors", "published", "licence", "weights")
_NUMBERS = ("input", "params", "GMACs", "priors")
_FOLDING = 1 + TITLES.index("published")
"""The column that gives way where the terminal is narrow."""


def show(specs: Sequence[ModelSpec]) -> None:
    """Prints the models to stdout, in their full width where that is no terminal."""
    console = Console(highlight=False)
    rows = [(spec.name, *cells(spec)) for spec in specs]
    wide = sum(_widths(rows)) + 2 * len(TITLES)
    if not console.is_terminal:
        console.width = max(wide, console.width)
    if wide <= console.width:
        console.print(_table([("model", *TITLES), *rows], _widths(rows), gap=2))
        return
    tagged = [(f" .{spec.tag}" if spec.tag else " for your own names", *cells(spec)) for spec in specs]
    widths = _widths(tagged)
    widths[_FOLDING] = max(12, console.width - sum(widths) + widths[_FOLDING] - len(TITLES))
    console.print(_table([("model", *TITLES)], widths, gap=1))
    pairs = zip(specs, tagged, strict=True)
    for architecture, group in groupby(pairs, key=lambda pair: pair[0].architecture):
        console.print(architecture, style="bold")
        console.print(_table([row for _, row in group], widths, gap=1))


def cells(spec: ModelSpec) -> tuple[str, ...]:
    """The columns after the name; a sheet for one's own names states no counts, as they depend on these."""
    check, metric = spec.check, next(iter(spec.metrics), None)
    return (
        f"{spec.input.width}x{spec.input.height}",
        f"{check.parameters / 1e6:.2f}M" if check else "-",
        f"{check.macs / 1e9:.2f}" if check and check.macs else "-",
        f"{check.priors:,}" if check else "-",
        f"{metric.metric} {metric.value:.3f} {metric.dataset}" if metric else "-",
        spec.licence,
        "yes" if spec.weights else "-",
    )


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """The longest cell of every column, its title included."""
    return [max(map(len, column)) for column in zip(("model", *TITLES), *rows, strict=True)]


def _table(rows: Sequence[Sequence[str]], widths: Sequence[int], *, gap: int) -> Table:
    """Rows in columns of these widths; what is longer goes on below."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, gap, 0, 0))
    for title, width in zip(("model", *TITLES), widths, strict=True):
        table.add_column(justify="right" if title in _NUMBERS else "left", width=width)
    for row in rows:
        table.add_row(*row)
    return table
