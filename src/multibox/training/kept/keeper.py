"""Keeps the weights worth keeping: the best by AP, the last, and every k-th."""

from __future__ import annotations

import json
import time
from pathlib import Path

from multibox.data.dataset import Dataset
from multibox.network.model import SSD
from multibox.results.files import write_text
from multibox.training.kept.pictures import draw_predictions
from multibox.training.kept.plots import plot_curves
from multibox.training.kept.results_table import ResultsTable, Row
from multibox.training.options import TrainOptions
from multibox.training.options_file import to_table
from multibox.weights.checkpoint import save

METRIC = "val/AP"
_PICTURES = 4
_DRAW_EVERY = 60.0
"""Seconds between two drawings: they take a second, and an epoch may be as short."""


class Keeper:
    """Writes self-describing weights, metrics and pictures after each epoch, and knows when patience ends."""

    def __init__(self, folder: Path, table: ResultsTable, options: TrainOptions, shown: Dataset) -> None:
        """`options` are resolved and go into every file; the first images of `shown` are drawn."""
        self.folder, self.table, self.options, self.shown = folder, table, options, shown
        self._drawn = time.monotonic()

    @property
    def best(self) -> Row | None:
        """The row of the highest AP, the first of equals; none without validation."""
        rows = [row for row in self.table.rows if METRIC in row]
        return max(rows, key=lambda row: row[METRIC]) if rows else None

    @property
    def weights(self) -> Path:
        """The file to use: the best where there was a validation, else the last."""
        return self.folder / "weights" / ("best.safetensors" if self.best else "last.safetensors")

    def keep(self, network: SSD, row: Row) -> bool:
        """Called with the row just added; whether the training should stop."""
        best, period, patience = self.best, self.options.save_period, self.options.patience
        self._write_weights(network, "last", row)
        if best is row:
            self._write_weights(network, "best", row)
        if period and row["epoch"] % period == 0:
            self._write_weights(network, f"epoch{int(row['epoch'])}", row)
        self._write_metrics(row)
        if time.monotonic() - self._drawn > _DRAW_EVERY:
            self._draw(network)
        return bool(patience and best and row["epoch"] - best["epoch"] >= patience)

    def finish(self, network: SSD, *, interrupted: bool) -> None:
        """The last pictures; where the training was interrupted, which must be quick, the weights of that moment."""
        if interrupted:
            self._write_weights(network, "last", None)
        else:
            self._draw(network)

    def _write_weights(self, network: SSD, name: str, row: Row | None) -> None:
        """`weights/NAME.safetensors`."""
        epoch = {"epoch": int(row["epoch"])} if row else {}
        path = self.folder / "weights" / f"{name}.safetensors"
        training = {**to_table(self.options), **epoch}
        save(path, network.state_dict(), network.spec, metrics=metrics_of(row), training=training)

    def _write_metrics(self, row: Row) -> None:
        """`metrics.json`."""
        table = {
            "best": metrics_of(self.best),
            "best_epoch": int(self.best["epoch"]) if self.best else None,
            "last": metrics_of(row),
            "last_epoch": int(row["epoch"]),
        }
        write_text(self.folder / "metrics.json", json.dumps(table, indent=2) + "\n")

    def _draw(self, network: SSD) -> None:
        """Curves, and predictions beside the truth."""
        if self.table.rows:
            plot_curves(self.table.rows, self.folder / "results.png")
        name = "val_pred.jpg" if self.options.validates else "train_pred.jpg"
        draw_predictions(network, self.shown.records[:_PICTURES], self.folder / name)
        self._drawn = time.monotonic()


def metrics_of(row: Row | None) -> dict[str, float]:
    """The validation's numbers of a row, without their prefix."""
    return {name.removeprefix("val/"): value for name, value in (row or {}).items() if name.startswith("val/")}
