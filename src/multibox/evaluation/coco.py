"""COCO's 12 numbers, AP per class and precision over recall, through hotcoco (equal to pycocotools)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from multibox.evaluation.columns import Floats, Found, Truths

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""In COCO's order: average precision (IoU 0.50:0.95; 0.50; 0.75; small, medium, large) and average recall."""

UNMEASURED = -1.0
"""What COCO gives where there is no object to measure by."""

_AT_50, _AT_75 = 0, 5
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)
_BEST_1, _BEST_10, _BEST_100 = range(3)


@dataclass(frozen=True, kw_only=True)
class CocoScores:
    """`metrics` by name (0..1, -1 where unmeasured); `ap` and `ap50` per class [k]; precision at IoU 0.5 [k, 101].

    Column i of `precision` is the precision at recall i / 100; -1 for classes without objects.
    """

    metrics: dict[str, float]
    ap: Floats
    ap50: Floats
    precision: Floats


def coco_scores(truths: Truths, found: Found, sizes: list[tuple[int, int]], classes: int) -> CocoScores:
    """Scores over all images, whose (width, height) are `sizes`, for labels 0..classes-1.

    As COCO has it: at most 100 detections per image and class count; detections in crowds are passed over; the sizes
    small, medium and large go by the truth's `areas`. Difficult objects (VOC) count like any other.
    """
    precision, recall = _accumulate(truths, found, sizes, classes)
    best = precision[:, :, :, :, _BEST_100]
    values = (
        best[..., _ALL],
        best[_AT_50, ..., _ALL],
        best[_AT_75, ..., _ALL],
        best[..., _SMALL],
        best[..., _MEDIUM],
        best[..., _LARGE],
        recall[:, :, _ALL, _BEST_1],
        recall[:, :, _ALL, _BEST_10],
        recall[:, :, _ALL, _BEST_100],
        recall[:, :, _SMALL, _BEST_100],
        recall[:, :, _MEDIUM, _BEST_100],
        recall[:, :, _LARGE, _BEST_100],
    )
    return CocoScores(
        metrics={name: _mean(value) for name, value in zip(METRICS, values, strict=True)},
        ap=np.array([_mean(best[:, :, label, _ALL]) for label in range(classes)]),
        ap50=np.array([_mean(best[_AT_50, :, label, _ALL]) for label in range(classes)]),
        precision=best[_AT_50, :, :, _ALL].T.copy(),
    )


def _accumulate(truths: Truths, found: Found, sizes: list[tuple[int, int]], classes: int) -> tuple[Floats, Floats]:
    """Precision [10 IoU, 101 recalls, k, 4 sizes, 3 limits] and recall [10, k, 4, 3], -1 where unmeasured.

    hotcoco's ids are ours plus one: COCO's tools take an id of 0 for no id in places.
    """
    from hotcoco import COCO, COCOeval

    images = [{"id": index + 1, "width": width, "height": height} for index, (width, height) in enumerate(sizes)]
    categories = [{"id": label + 1, "name": str(label)} for label in range(classes)]
    truth = COCO.from_arrays(
        images,
        categories,
        truths.images + 1,
        truths.labels + 1,
        _corner_and_sides(truths.boxes),
        area=truths.areas,
        iscrowd=truths.crowd.astype(np.int64),
    )
    columns = (found.images + 1, _corner_and_sides(found.boxes), found.scores, found.labels + 1)
    evaluation: Any = COCOeval(truth, truth.load_res(np.column_stack(columns)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    outcome = evaluation.eval
    return np.asarray(outcome["precision"]), np.asarray(outcome["recall"])


def _corner_and_sides(boxes: Floats) -> Floats:
    """COCO's x, y, width, height of corners [n, 4]."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _mean(values: Floats) -> float:
    """The mean of what was measured."""
    measured = values[values > UNMEASURED]
    return float(measured.mean()) if measured.size else UNMEASURED
