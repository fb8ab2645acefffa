"""What an evaluation found: the metrics, a table of classes, the speed; as JSON, and as files in a folder."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from multibox.errors import MultiboxError
from multibox.evaluation.columns import Floats, Found


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """One class of the dataset: its objects, the detections of it, and its scores (0..1; -1 without objects)."""

    name: str
    objects: int
    detections: int
    AP: float
    AP50: float
    voc07_AP: float
    voc_AP: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of `evaluate`.

    `metrics` are COCO's 12 by their names, `voc07_mAP` and `voc_mAP`, all 0..1, -1 where there was nothing to measure
    by. `missing` are classes of the dataset that the model does not know (their objects count as missed), `dropped`
    those of the model that the dataset lacks (their detections do not count). `seconds` is the time from files to
    detections. `problems` are images that could not be used as they are, a sentence each.
    """

    model: str
    engine: str
    dataset: str
    split: str
    images: int
    objects: int
    seconds: float
    metrics: dict[str, float]
    per_class: tuple[ClassRow, ...]
    missing: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    precision: Floats = field(repr=False)
    """Precision at IoU 0.5 per class [k, 101], column i at recall i / 100; -1 for classes without objects."""
    found: Found = field(repr=False)
    image_ids: tuple[int, ...] = field(repr=False)
    category_ids: tuple[int, ...] = field(repr=False)

    @property
    def images_per_second(self) -> float:
        """Throughput from files to detections."""
        return self.images / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Everything but the curves and the detections, in plain types."""
        plain = ("model", "engine", "dataset", "split", "images", "objects", "seconds")
        return {
            **{name: getattr(self, name) for name in plain},
            "images_per_second": self.images_per_second,
            "metrics": self.metrics,
            "per_class": [asdict(row) for row in self.per_class],
            **{name: list(getattr(self, name)) for name in ("missing", "dropped", "problems")},
        }

    def to_json(self) -> str:
        """`as_dict` as indented JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    def save(self, folder: str | Path) -> None:
        """Writes `metrics.json`, `precision_recall.csv` and `predictions.json` (COCO results, the dataset's own ids).

        Raises `MultiboxError` where the folder cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "metrics.json").write_text(self.to_json() + "\n", encoding="utf-8")
            (folder / "precision_recall.csv").write_text(self._curves(), encoding="utf-8")
            (folder / "predictions.json").write_text(json.dumps(self.predictions()), encoding="utf-8")
        except OSError as error:
            raise MultiboxError(f"{folder}: cannot be written ({error.strerror or error})") from None

    def predictions(self) -> list[dict[str, Any]]:
        """All detections as COCO results: image_id, category_id, bbox (x, y, width, height in pixels), score."""
        found = self.found
        columns = zip(found.images.tolist(), found.labels.tolist(), found.boxes, found.scores.tolist(), strict=True)
        return [
            {
                "image_id": self.image_ids[image],
                "category_id": self.category_ids[label],
                "bbox": [round(float(side), 3) for side in (x1, y1, x2 - x1, y2 - y1)],
                "score": round(score, 6),
            }
            for image, label, (x1, y1, x2, y2), score in columns
        ]

    def _curves(self) -> str:
        """One line per recall, one column per class with objects."""
        shown = [place for place, row in enumerate(self.per_class) if row.objects]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["recall", *(self.per_class[place].name for place in shown)])
        for step in range(self.precision.shape[1]):
            writer.writerow([f"{step / 100:.2f}", *(f"{self.precision[place, step]:.4f}" for place in shown)])
        return text.getvalue()
