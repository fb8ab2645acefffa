"""Plain JSON: a list of pictures, each with its path, size and detections by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from multibox.results.formats.stream import JsonList
from multibox.results.prediction import Prediction
from multibox.results.rows import as_table


class JsonWriter:
    """`[{path, width, height, detections: [{name, class_id, score, box: {x1, y1, x2, y2}}]}]`."""

    def __init__(self, path: Path, names: Sequence[str], ids: Sequence[int] = ()) -> None:
        """Opens `path`; the dataset's `ids` are of no use here."""
        self._list = JsonList(path)
        self._names = names

    def add(self, prediction: Prediction) -> None:
        """Adds one picture, also one without detections."""
        if prediction.error is None:
            self._list.add(as_table(prediction, self._names))

    def close(self) -> None:
        """Completes the file."""
        self._list.close()

    def discard(self) -> None:
        """Removes the unfinished file."""
        self._list.discard()
