"""A benchmark's report as a table on stdout, and as a plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from multibox.cli.listing import make_console

if TYPE_CHECKING:
    from multibox.evaluation.speed import SpeedReport, SpeedRow
    from multibox.evaluation.stopwatch import Spread

_WIDTH = 150


def show_report(report: SpeedReport) -> None:
    """What holds for all rows, the table, and what its columns mean."""
    console = make_console(_WIDTH)
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    head = f"{report.pictures}, JPEG bytes to detections; {report.threads} threads on {report.cores} cores"
    for line in (f"{head}; warm-up {report.warm_up}", versions):
        console.print(line, markup=False, soft_wrap=True)
    console.print(_table(report))
    for model in dict.fromkeys(row.model for row in report.rows):
        _say_shares(console.print, [row for row in report.rows if row.model == model])


def _table(report: SpeedReport):  # type: ignore[no-untyped-def]  # rich is imported late
    from rich.table import Table

    from multibox.evaluation.speed import STEPS

    several = len({row.model for row in report.rows}) > 1
    table = Table(box=None, pad_edge=False)
    for title in (*(("model",) if several else ()), "engine", "precision"):
        table.add_column(title)
    numbers = ("batch", "p50 ms", "p90", "p99", "calls", "img/s", "(p10-p90)", *STEPS, "start s", "peak MB")
    for title in (*numbers, *((f"x {report.peer}", "(p10-p90)") if report.peer else ())):
        table.add_column(title, justify="right")
    for row in report.rows:
        table.add_row(*((row.model,) if several else ()), *_cells(row, report.peer is not None))
    return table


def _cells(row: SpeedRow, compared: bool) -> list[str]:
    """One line of the table. A step that cannot be told apart stands in the column before."""
    latency, rate, steps = row.latency, row.rate, row.steps
    cells = [row.engine, row.precision, str(row.batch)]
    cells += [f"{value:.2f}" for value in (latency.p50, latency.p90, latency.p99)]
    cells += [str(latency.calls), f"{rate.p50:.1f}", f"{rate.p10:.1f}-{rate.p90:.1f}"]
    cells += [_median(steps.get("decode")), _median(steps.get("resize"))]
    cells += [_median(steps.get("network") or steps.get("engine")), _median(steps.get("post"))]
    cells += [f"{row.start_seconds:.2f}", f"{row.peak_megabytes:.0f}" if row.peak_megabytes else "-"]
    if compared:
        ratio = row.against
        cells += [f"{ratio.times:.2f}", f"{ratio.low:.2f}-{ratio.high:.2f}"] if ratio else ["-", ""]
    return cells


def _median(spread: Spread | None) -> str:
    """Milliseconds, or a dash."""
    return f"{spread.p50:.2f}" if spread else "-"


def _say_shares(say, rows: list[SpeedRow]) -> None:  # type: ignore[no-untyped-def]
    """What post-processing adds to the network, for calls of one picture."""
    for row in rows:
        network, post = row.steps.get("network"), row.steps.get("post")
        if row.batch == 1 and network and post:
            share, whole = post.p50 / network.p50, row.latency.p50 / network.p50
            text = f"post-processing {share:.0%} of the network's time, the whole call {whole:.2f}x the network"
            say(f"{row.model}, {row.engine} {row.precision}: {text}", markup=False, soft_wrap=True)


def show_plot(report: SpeedReport, path: Path) -> None:
    """The report as a picture."""
    from multibox.results.speed_plot import Bar, Line, plot_speed

    bars, lines = [], dict[str, list[tuple[int, float]]]()
    several = len({row.model for row in report.rows}) > 1
    for row in report.rows:
        label = f"{row.model + ' ' if several else ''}{row.engine} {row.precision}"
        steps = {name: spread.p50 / row.batch for name, spread in row.steps.items()}
        latency = row.latency
        bars.append(Bar(f"{label}, batch {row.batch}", steps, latency.p50 / row.batch, latency.p99 / row.batch))
        lines.setdefault(label, []).append((row.batch, row.rate.p50))
    title = f"{', '.join(dict.fromkeys(row.model for row in report.rows))}, {report.threads} threads"
    plot_speed(path, title, bars, [Line(label, points) for label, points in lines.items()])
