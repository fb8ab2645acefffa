"""CSV: one line per detection, for spreadsheets and data frames."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from multibox.results.files import AtomicFile
from multibox.results.prediction import Prediction
from multibox.results.rows import rows

COLUMNS = ("path", "frame", "width", "height", "name", "class_id", "score", "x1", "y1", "x2", "y2")


class CsvWriter:
    """Writes a header and a line per detection; `frame` is empty for pictures."""

    def __init__(self, path: Path, names: Sequence[str], ids: Sequence[int] = ()) -> None:
        """Opens `path`; the dataset's `ids` are of no use here."""
        self._names = names
        self._file = AtomicFile(path, "")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(COLUMNS)

    def add(self, prediction: Prediction) -> None:
        """Adds one picture's detections."""
        if prediction.error is not None:
            return
        frame = prediction.frame.number if prediction.frame is not None else ""
        picture = (prediction.where, frame, prediction.width, prediction.height)
        for row in rows(prediction.objects, self._names):
            self._csv.writerow((*picture, row.name, row.class_id, row.score, *row.box))

    def close(self) -> None:
        """Completes the file."""
        self._file.keep()

    def discard(self) -> None:
        """Removes the unfinished file."""
        self._file.discard()
