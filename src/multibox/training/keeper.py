"""Keeps the weights worth keeping: the best by AP, the last, and every k-th."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from multibox.network.model import SSD
from multibox.training.options import TrainOptions
from multibox.training.plots import plot_curves
from multibox.training.results_table import ResultsTable, Row
from multibox.training.run_folder import write_text
from multibox.weights.checkpoint import save

METRIC = "val/AP"


class Keeper:
    """Writes self-describing weights, curves and metrics after each epoch, and knows when patience ends."""

    def __init__(self, folder: Path, table: ResultsTable, options: TrainOptions, training: dict[str, Any]) -> None:
        """`training` are the resolved arguments that go into every file."""
        self.folder, self.table, self.options, self.training = folder, table, options, training

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
        self.write(network, "last", row)
        best = self.best
        if best is row:
            self.write(network, "best", row)
        period = self.options.save_period
        if period and row["epoch"] % period == 0:
            self.write(network, f"epoch{int(row['epoch'])}", row)
        metrics = {"best": metrics_of(best), "best_epoch": int(best["epoch"]) if best else None}
        table = {**metrics, "last": metrics_of(row), "last_epoch": int(row["epoch"])}
        write_text(self.folder / "metrics.json", json.dumps(table, indent=2) + "\n")
        plot_curves(self.table.rows, self.folder / "results.png")
        patience = self.options.patience
        return bool(patience and best and row["epoch"] - best["epoch"] >= patience)

    def write(self, network: SSD, name: str, row: Row | None) -> None:
        """`weights/NAME.safetensors`."""
        epoch = {"epoch": int(row["epoch"])} if row else {}
        path = self.folder / "weights" / f"{name}.safetensors"
        save(path, network.state_dict(), network.spec, metrics=metrics_of(row), training={**self.training, **epoch})


def metrics_of(row: Row | None) -> dict[str, float]:
    """The validation's numbers of a row, without their prefix."""
    return {name.removeprefix("val/"): value for name, value in (row or {}).items() if name.startswith("val/")}
