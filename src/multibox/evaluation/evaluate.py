"""A detector is run over a dataset and compared with its truth, on whatever engine the detector has."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from multibox.data.dataset import Dataset, Record
from multibox.evaluation.coco import CocoScores, coco_scores
from multibox.evaluation.columns import Found, Part, Truths, found_of, truths_of
from multibox.evaluation.names import match_names
from multibox.evaluation.report import ClassRow, Report
from multibox.evaluation.voc import VocScores, voc_scores
from multibox.prediction.detector import Detector, Prediction
from multibox.prediction.tiles import Tiles

Progress = Callable[[int, int], None]
"""Called with (images done, images in all) after each image."""


class Findings(NamedTuple):
    """By image what was found, and what was wrong with the image, or nothing; the seconds that it took."""

    parts: list[Part]
    problems: list[str]
    seconds: float


def evaluate(
    detector: Detector,
    dataset: Dataset,
    *,
    batch: int = 8,
    conf: float | None = None,
    progress: Progress | None = None,
    tiles: Tiles | None = None,
) -> Report:
    """Runs the detector on all images, large ones in `tiles` where these are given, and scores what it finds.

    Every detection that the model's own thresholds let through counts, unless `conf` asks for more. Classes are matched
    by name (`match_names`). VOC's metrics measure VOC datasets in its inclusive pixels, others without. An image that
    cannot be read counts as one in which nothing was found, and is named in the report's `problems`. Raises `DataError`
    where model and dataset have no class in common.
    """
    records = in_order(dataset)
    found = find(detector, dataset, records, batch=batch, conf=conf, progress=progress, tiles=tiles)
    return score(detector, dataset, found)


def in_order(dataset: Dataset) -> list[Record]:
    """The images in COCO's order, which decides between equal scores."""
    return sorted(dataset.records, key=lambda record: record.image_id)


def find(
    detector: Detector,
    dataset: Dataset,
    records: Sequence[Record],
    *,
    batch: int = 8,
    conf: float | None = None,
    progress: Progress | None = None,
    tiles: Tiles | None = None,
) -> Findings:
    """What is found on these images of the dataset, detections of classes that it lacks left out."""
    started = time.perf_counter()
    label_of = match_names(detector.names, dataset.names).label_of
    paths = [record.path for record in records]
    predictions = detector.stream(paths, conf, batch=batch, keep_image=False, tiles=tiles)
    parts: list[Part] = []
    problems: list[str] = []
    for number, (record, prediction) in enumerate(zip(records, predictions, strict=True), 1):
        problems.append(_problem(record, prediction))
        found = prediction.objects
        labels = label_of[found.labels]
        keep = labels >= 0
        parts.append((found.boxes[keep], found.scores[keep], labels[keep]))
        if progress is not None:
            progress(number, len(records))
    return Findings(parts, problems, time.perf_counter() - started)


def score(detector: Detector, dataset: Dataset, findings: Findings) -> Report:
    """What was found on all images, `in_order`, compared with the truth."""
    records, names = in_order(dataset), match_names(detector.names, dataset.names)
    truths, found = truths_of(records), found_of(findings.parts)
    sizes = [(record.width, record.height) for record in records]
    coco = coco_scores(truths, found, sizes, len(dataset.names))
    voc = voc_scores(truths, found, len(dataset.names), inclusive=dataset.layout == "voc")
    rows = _class_rows(dataset.names, truths, found, coco, voc)
    return Report(
        model=detector.spec.name,
        engine=detector.engine.name,
        dataset=str(dataset.root),
        split=dataset.split,
        images=len(records),
        objects=sum(row.objects for row in rows),
        seconds=findings.seconds,
        metrics=coco.metrics | voc.metrics,
        per_class=rows,
        missing=names.missing,
        dropped=names.dropped,
        problems=tuple(problem for problem in findings.problems if problem),
        precision=coco.precision,
        found=found,
        image_ids=tuple(record.image_id for record in records),
        category_ids=dataset.ids,
    )


def _problem(record: Record, prediction: Prediction) -> str:
    """What was wrong with the image, or nothing."""
    if prediction.error is not None:
        return prediction.error
    if (prediction.width, prediction.height) != (record.width, record.height):
        return (
            f"{record.path} is {prediction.width} x {prediction.height} pixels, "
            f"its annotation says {record.width} x {record.height}"
        )
    return ""


def _class_rows(
    names: Sequence[str], truths: Truths, found: Found, coco: CocoScores, voc: VocScores
) -> tuple[ClassRow, ...]:
    """The table of classes; crowds are not counted as objects."""
    objects = np.bincount(truths.labels[~truths.crowd], minlength=len(names))
    detections = np.bincount(found.labels, minlength=len(names))
    return tuple(
        ClassRow(
            name=name,
            objects=int(objects[label]),
            detections=int(detections[label]),
            AP=float(coco.ap[label]),
            AP50=float(coco.ap50[label]),
            voc07_AP=float(voc.ap07[label]),
            voc_AP=float(voc.ap[label]),
        )
        for label, name in enumerate(names)
    )
