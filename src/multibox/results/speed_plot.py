"""A benchmark as a picture: how long a call takes and what of, and how many pictures per second a batch gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from multibox.errors import MultiboxError, UsageError
from multibox.installed import is_installed
from multibox.results.files import part_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")
_COLORS = {"decode": "#4c78a8", "resize": "#72b7b2", "network": "#f58518", "engine": "#f58518", "post": "#e45756"}


class Bar(NamedTuple):
    """One configuration: milliseconds per picture of its steps, and percentiles 50 and 99 of the whole call."""

    label: str
    steps: Mapping[str, float]
    median: float
    worst: float


class Line(NamedTuple):
    """One engine and precision: (batch, pictures per second)."""

    label: str
    points: Sequence[tuple[int, float]]


def check_plot(path: Path) -> None:
    """Raises `UsageError` where such a plot cannot be made, before anything is measured."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: a plot is written as one of {', '.join(SUFFIXES)}")
    if not is_installed("matplotlib"):
        raise UsageError("a plot needs matplotlib; run: pip install matplotlib")


def plot_speed(path: Path, title: str, bars: Sequence[Bar], lines: Sequence[Line]) -> None:
    """Writes both panels to `path`, whole or not at all. Raises `MultiboxError` where it cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 1.8 + max(2.0, 0.42 * len(bars))), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_bars(left, bars)
    _draw_lines(right, lines)
    data = BytesIO()
    figure.savefig(data, format=path.suffix[1:].lower(), dpi=110)
    part = part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data.getvalue())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):  # where not even its folder could be made
            part.unlink()
        raise MultiboxError(f"{path}: cannot be written ({error.strerror or error})") from None


def _draw_bars(axes: Axes, bars: Sequence[Bar]) -> None:
    """The steps side by side, and the whole call as a mark from its median to percentile 99."""
    shown: set[str] = set()
    for row, bar in enumerate(bars):
        start = 0.0
        for step, value in bar.steps.items():
            label = step if step not in shown else None
            axes.barh(row, max(0.0, value), left=start, color=_COLORS[step], label=label, height=0.6)
            shown.add(step)
            start += max(0.0, value)
        axes.plot([bar.median, bar.worst], [row, row], color="black", lw=1.2, marker="|", ms=9)
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars], fontsize=9)
    axes.invert_yaxis()
    axes.set(xlabel="ms per picture; black: whole call, median to p99", xlim=(0, None))
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8)


def _draw_lines(axes: Axes, lines: Sequence[Line]) -> None:
    """Throughput over the batch."""
    for line in lines:
        axes.plot(*zip(*line.points, strict=True), marker="o", label=line.label)
    batches = sorted({batch for line in lines for batch, _ in line.points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.minorticks_off()
    axes.set(xlabel="batch", ylabel="pictures per second (stream)")
    axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
