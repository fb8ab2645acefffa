"""One shard's predictions as a Parquet file: one row per picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from multibox.results.prediction import Prediction
from multibox.scale.files import Place, write
from multibox.scale.job import Job, part_name
from multibox.scale.listing import Picture
from multibox.scale.tables import RESULT_KEY

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("path", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("boxes", pa.list_(pa.list_(pa.float32()))),
        ("scores", pa.list_(pa.float32())),
        ("labels", pa.list_(pa.int32())),
        ("names", pa.list_(pa.string())),
        ("error", pa.string()),
        ("seconds", pa.float32()),
    ]
)
"""Boxes are x1, y1, x2, y2 in pixels of the upright photo, surest first; labels are 0-based indexes into the classes.

A picture that could not be read has an `error`, width and height 0 and empty lists.
"""


def write_part(output: Place, shard: int, pictures: Sequence[Picture], found: Sequence[Prediction], job: Job) -> None:
    """Writes the rows of a shard, complete or not at all. Raises `MultiboxError` where that is not possible."""
    sink = io.BytesIO()
    table = to_table(pictures, found).replace_schema_metadata({RESULT_KEY: job.as_json().encode()})
    pq.write_table(table, sink, compression="zstd")
    write(output.beside(part_name(shard)), sink.getvalue())


def to_table(pictures: Sequence[Picture], found: Sequence[Prediction]) -> Any:
    """The rows of pictures and of what was found in each, in the same order."""
    detections = [prediction.detections for prediction in found]
    columns: dict[str, list[Any]] = {
        "id": [picture.id for picture in pictures],
        "path": [picture.path for picture in pictures],
        "width": [prediction.width for prediction in found],
        "height": [prediction.height for prediction in found],
        "boxes": [one.xyxy.tolist() for one in detections],
        "scores": [_listed(one.confidence) for one in detections],
        "labels": [_listed(one.class_id) for one in detections],
        "names": [_listed(one.data["class_name"]) for one in detections],
        "error": [_sentence(picture, one.error) for picture, one in zip(pictures, found, strict=True)],
        "seconds": [prediction.seconds for prediction in found],
    }
    return pa.table(columns, schema=SCHEMA)


def _listed(values: Any) -> list[Any]:
    return [] if values is None else list(values.tolist())


def _sentence(picture: Picture, error: str | None) -> str | None:
    """The error with the picture's name, which those who decode bytes do not know."""
    return error if error is None else error.replace("image bytes", picture.id, 1)
