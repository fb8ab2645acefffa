"""How far a long run is, on stderr: a bar on a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

_INTERVAL = 10.0
"""Seconds between two plain lines."""


class Progress:
    """Counts pictures as a context: `step` after each; shows rate and time left. Nothing is shown for a single one."""

    def __init__(self, total: int | None, *, shown: bool = True) -> None:
        """`total` may be unknown (a video without a frame count)."""
        self._total, self._done, self._first = total, 0, 0
        self._start: float | None = None
        self._last = time.monotonic()
        self._shown = shown and total != 1
        self._note = ""
        self._bar: RichProgress | None = None
        if self._shown and sys.stderr.isatty():
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
            self._bar = RichProgress(*columns, console=Console(stderr=True), redirect_stdout=False)
            self._task = self._bar.add_task("", total=total, rate="")

    def __enter__(self) -> Progress:
        """Itself, the bar drawn."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.stop()

    def step(self, number: int = 1, note: str = "") -> None:
        """One more is done, or `number` more at once; the `note` stands behind the rate."""
        self._done += number
        if self._start is None:  # what came before the first picture is no rate of pictures
            self._start, self._first = time.monotonic(), self._done
        self._note = f"  {note}" if note else ""
        if self._bar is not None:
            self._bar.update(self._task, advance=number, rate=f"{self._rate():.1f} img/s{self._note}")
        elif self._shown and time.monotonic() - self._last >= _INTERVAL:
            self._last = time.monotonic()
            sys.stderr.write(self._line())
            sys.stderr.flush()

    def show(self, line: str, *, err: bool = False) -> None:
        """Prints a line to stdout, or stderr; on a terminal above the bar, while what is piped goes its own way."""
        if self._bar is not None and (err or sys.stdout.isatty()):
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            typer.echo(line, err=err)

    def _rate(self) -> float:
        """Pictures per second since the first one."""
        return (self._done - self._first) / max(1e-6, time.monotonic() - (self._start or 0.0))

    def _line(self) -> str:
        """`120/5000  35.2 img/s  2:19 left`; of a live source `120/?  24.9 img/s  3 dropped, 41 ms old`."""
        text = f"{self._done}/{self._total or '?'}  {self._rate():.1f} img/s{self._note}"
        if self._total and self._done > self._first:
            left = round(max(0, self._total - self._done) / self._rate())
            text += f"  {left // 60}:{left % 60:02d} left"
        return text + "\n"
