"""VOC's average precision: over 11 recalls (VOC2007) and as the area under the curve (since VOC2010).

Rules as in the devkit: a detection goes to the object of its class that it overlaps most, however often that has been
found; the first one at or above the IoU threshold is right, later ones are wrong; those on a difficult object are
passed over, and difficult objects are not asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multibox.evaluation.coco import UNMEASURED
from multibox.evaluation.columns import Flags, Floats, Found, Ints, Truths


@dataclass(frozen=True, kw_only=True)
class VocScores:
    """AP per class [k] by either rule, 0..1; -1 for classes without objects. The means leave those out."""

    ap07: Floats
    ap: Floats

    @property
    def metrics(self) -> dict[str, float]:
        """The means over the classes, under the names by which they are reported."""
        return {"voc07_mAP": _mean(self.ap07), "voc_mAP": _mean(self.ap)}


def voc_scores(truths: Truths, found: Found, classes: int, *, iou: float = 0.5, inclusive: bool = True) -> VocScores:
    """AP of labels 0..classes-1. `inclusive` is the devkit's pixel rule: a box from x1 to x2 is x2 - x1 + 1 wide.

    Crowd boxes (COCO) are treated as difficult ones.
    """
    passed_over = truths.difficult | truths.crowd
    order = np.argsort(-found.scores, kind="stable")
    found = Found(
        images=found.images[order], labels=found.labels[order], boxes=found.boxes[order], scores=found.scores[order]
    )
    best, overlap = _best_truths(truths, found, inclusive)
    hit = overlap >= iou
    ignored = np.zeros(len(hit), np.bool_)
    ignored[hit] = passed_over[best[hit]]
    right = np.zeros(len(hit), np.bool_)
    claims = np.flatnonzero(hit & ~ignored)
    right[claims[np.unique(best[claims], return_index=True)[1]]] = True  # scores descend: the first claim wins
    scores = [
        _average_precision(right[(found.labels == label) & ~ignored], int((~passed_over[truths.labels == label]).sum()))
        for label in range(classes)
    ]
    return VocScores(ap07=np.array([old for old, _ in scores]), ap=np.array([new for _, new in scores]))


def _best_truths(truths: Truths, found: Found, inclusive: bool) -> tuple[Ints, Floats]:
    """For each detection [n] the truth of its image and class that it overlaps most (the first of equals), and the IoU.

    All pairs within an image and class are laid out at once; a detection without such truths has IoU 0.
    """
    classes = max(truths.labels.max(initial=0), found.labels.max(initial=0)) + 1
    keys = truths.images * classes + truths.labels
    order = np.argsort(keys, kind="stable")
    wanted = found.images * classes + found.labels
    start = np.searchsorted(keys[order], wanted, side="left")
    counts = np.searchsorted(keys[order], wanted, side="right") - start
    detection = np.repeat(np.arange(len(wanted)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    truth = order[np.repeat(start, counts) + place]
    overlaps = _iou(found.boxes[detection], truths.boxes[truth], inclusive)
    ranked = np.lexsort((place, -overlaps, detection))
    detected, first = np.unique(detection[ranked], return_index=True)
    best, overlap = np.zeros(len(wanted), np.int64), np.zeros(len(wanted))
    best[detected], overlap[detected] = truth[ranked[first]], overlaps[ranked[first]]
    return best, overlap


def _iou(a: Floats, b: Floats, inclusive: bool) -> Floats:
    """IoU of the pairs a[i], b[i] [n]; 0 for boxes without area."""
    one = float(inclusive)
    sides = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]) + one, 0)
    common: Floats = sides[:, 0] * sides[:, 1]
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2] + one, axis=1) for boxes in (a, b)]
    union = areas[0] + areas[1] - common
    shares: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return shares


def _average_precision(right: Flags, objects: int) -> tuple[float, float]:
    """(11-point, area) AP of detections by descending score; `objects` are those to be found."""
    if not objects:
        return UNMEASURED, UNMEASURED
    hits = np.cumsum(right)
    recall = hits / objects
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]  # the best precision at this recall or beyond
    places = np.searchsorted(recall, np.arange(11) / 10, side="left")
    eleven = np.append(envelope, 0.0)[places].mean()
    area = (np.diff(recall, prepend=0.0) * envelope).sum()
    return float(eleven), float(area)


def _mean(values: Floats) -> float:
    """The mean of the classes with objects."""
    measured = values[values > UNMEASURED]
    return float(measured.mean()) if measured.size else UNMEASURED
