"""Detections to files, one picture at a time: JSON, COCO results, VOC xml, YOLO txt, CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from multibox.errors import UsageError, did_you_mean
from multibox.results.formats.coco import CocoWriter
from multibox.results.formats.plain import JsonWriter
from multibox.results.formats.table import CsvWriter
from multibox.results.formats.voc import VocWriter
from multibox.results.formats.yolo import YoloWriter
from multibox.results.prediction import Prediction


class Writer(Protocol):
    """Takes predictions as they come and holds none of them; pictures with an `error` are left out."""

    def add(self, prediction: Prediction) -> None:
        """Writes one picture's detections."""

    def close(self) -> None:
        """Completes the output and puts it in its place."""

    def discard(self) -> None:
        """Gives up: unfinished output is removed."""


_WRITERS: dict[str, Callable[[Path, Sequence[str], Sequence[int]], Writer]] = {
    "json": JsonWriter,
    "coco": CocoWriter,
    "voc": VocWriter,
    "yolo": YoloWriter,
    "csv": CsvWriter,
}
FORMATS = tuple(_WRITERS)
PLACES = {
    "json": "predictions.json",
    "coco": "coco_results.json",
    "voc": "voc",
    "yolo": "yolo",
    "csv": "predictions.csv",
}
"""The customary name in a run folder: a file, or for VOC and YOLO a folder with one file per picture."""


def open_writer(format: str, path: Path, names: Sequence[str], ids: Sequence[int] = ()) -> Writer:
    """A writer of `format` to `path` (a file; a folder for `voc` and `yolo`).

    `names` are the model's classes; `ids` are the dataset's category ids for COCO results (empty: 1..n). Raises
    `UsageError` for an unknown format and `MultiboxError` where `path` cannot be written.
    """
    if format not in _WRITERS:
        known = ", ".join(FORMATS)
        raise UsageError(f"no output format '{format}'{did_you_mean(format, FORMATS)} (known: {known})")
    return _WRITERS[format](path, names, ids)
