"""results.csv: one row per epoch, kept through a resume."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from multibox.results.files import write_text

Row = dict[str, float]


class ResultsTable:
    """The rows of a run, each written at once; columns are those that any row has."""

    def __init__(self, path: Path, *, before_epoch: int = 0) -> None:
        """Takes up the rows of earlier epochs (from 1) where the file is there already."""
        self.path = path
        self.rows: list[Row] = [row for row in read_rows(path) if row["epoch"] <= before_epoch]

    def add(self, row: Row) -> None:
        """Appends an epoch and writes the file."""
        self.rows.append(row)
        columns = list(dict.fromkeys(name for each in self.rows for name in each))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in each.items()} for each in self.rows)
        write_text(self.path, text.getvalue())


def read_rows(path: Path) -> list[Row]:
    """All rows of a results file; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
