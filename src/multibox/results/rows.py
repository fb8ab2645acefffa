"""One detection as a row of plain Python numbers, for everything that is written as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from multibox.results.prediction import Objects, Prediction


class Row(NamedTuple):
    """One object: its class, its score and its box x1, y1, x2, y2 in pixels of the photo."""

    name: str
    class_id: int
    score: float
    box: tuple[float, float, float, float]

    def clipped(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The box cut to the photo, for formats that know nothing outside of it."""
        x1, y1, x2, y2 = self.box
        return (
            min(max(x1, 0.0), width),
            min(max(y1, 0.0), height),
            min(max(x2, 0.0), width),
            min(max(y2, 0.0), height),
        )


def rows(objects: Objects, names: Sequence[str]) -> Iterator[Row]:
    """The objects in their order; boxes to a thousandth of a pixel, scores to a millionth."""
    boxes, scores = objects.boxes.astype(float).round(3).tolist(), objects.scores.astype(float).round(6).tolist()
    for box, label, score in zip(boxes, objects.labels.tolist(), scores, strict=True):
        yield Row(names[label], label, score, tuple(box))


def as_table(prediction: Prediction, names: Sequence[str]) -> dict[str, Any]:
    """The prediction as one JSON object: path, frame (videos only), width, height, detections; or path and error.

    Frames of live sources also have `time`, in seconds since the first one.
    """
    table: dict[str, Any] = {"path": prediction.where}
    if prediction.frame is not None:
        table["frame"] = prediction.frame.number
        if prediction.frame.at is not None:
            table["time"] = round(prediction.frame.at, 3)
    if prediction.error is not None:
        return table | {"error": prediction.error}
    found = [
        {"name": r.name, "class_id": r.class_id, "score": r.score, "box": dict(zip(_CORNERS, r.box, strict=True))}
        for r in rows(prediction.objects, names)
    ]
    return table | {"width": prediction.width, "height": prediction.height, "detections": found}


_CORNERS = ("x1", "y1", "x2", "y2")
