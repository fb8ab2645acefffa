"""results.png: the curves of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from multibox.results.files import placed
from multibox.training.kept.results_table import Row

_PANELS = (
    ("loss", ("train/loss", "train/loss_cls", "train/loss_box", "train/loss_teacher")),
    ("AP on the validation images", ("val/AP", "val/AP50", "val/AP75")),
    ("learning rate", ("lr/group0",)),
    ("images per second", ("img_per_s",)),
)


def plot_curves(rows: Sequence[Row], path: Path) -> None:
    """One panel per kind of number over the epochs; panels without a number are left out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [(title, [name for name in names if any(name in row for row in rows)]) for title, names in _PANELS]
    shown = [(title, names) for title, names in panels if names]
    figure = Figure(figsize=(4.2 * len(shown), 3.4))
    for axes, (title, names) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        for name in names:
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else None, label=name)
        axes.set(title=title, xlabel="epoch", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.subplots_adjust(left=0.16 / len(shown), right=1 - 0.06 / len(shown), top=0.9, bottom=0.15, wspace=0.22)
    with placed(path) as part:
        FigureCanvasAgg(figure).print_png(part)
