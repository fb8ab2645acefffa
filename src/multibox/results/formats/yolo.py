"""YOLO: one txt per picture, a line `class cx cy width height score` per object, in fractions of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from multibox.results.files import make_folder, write_text
from multibox.results.prediction import Prediction
from multibox.results.rows import Row, rows


class YoloWriter:
    """Writes `FOLDER/labels/NAME.txt`, and `FOLDER/classes.txt` with the names in the order of their numbers."""

    def __init__(self, path: Path, names: Sequence[str], ids: Sequence[int] = ()) -> None:
        """Makes the folder `path`; the dataset's `ids` are of no use here."""
        self._labels = make_folder(path / "labels")
        self._names = names
        write_text(path / "classes.txt", "".join(f"{name}\n" for name in names))

    def add(self, prediction: Prediction) -> None:
        """Writes one picture's file; it is empty where nothing was found."""
        if prediction.error is None:
            found = rows(prediction.objects, self._names)
            lines = (_line(row, prediction.width, prediction.height) for row in found)
            write_text(self._labels / f"{prediction.name}.txt", "".join(lines))

    def close(self) -> None:
        """Every file is complete already."""

    def discard(self) -> None:
        """Every file is complete already."""


def _line(row: Row, width: int, height: int) -> str:
    """One object's line, its box cut to the picture."""
    x1, y1, x2, y2 = row.clipped(width, height)
    box = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return f"{row.class_id} " + " ".join(f"{side:.6f}" for side in box) + f" {row.score:.6f}\n"
