"""What rounding to 8 bits costs: detections beside torch's, and AP before and after where there is a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from multibox.errors import DataError, ExportError
from multibox.images.prepare import prepare
from multibox.network.inference import Inference
from multibox.prediction.engines.base import Engine, RawDetections
from multibox.prediction.engines.torch_engine import TorchEngine

Measure = Callable[[Engine], float]
"""The AP (0..1) of an engine on the user's data set."""

MAX_DROP = 0.5
"""Points of AP that may be lost where nothing else is said."""

_CONFIDENT, _NEAR, _OVERLAP = 0.25, 0.1, 0.7
"""Least score of a detection that is looked for; difference in score and IoU within which another one is its match."""
_FEW = 0.8
"""A smaller share of matching detections is warned of."""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How an 8-bit file compares with torch.

    Of `detections` (scores of 0.25 and more, those of torch and of the file together, over all runtimes) `matching`
    have a partner on the other side: the same class, IoU of 0.7 or more, scores within 0.1. `before` and `after` are
    AP (0..1) of torch and of the file on the runtime `measured_on`; None where it was not measured.
    """

    engines: str
    images: int
    detections: int
    matching: int
    measured_on: str | None = None
    before: float | None = None
    after: float | None = None

    @property
    def share(self) -> float:
        """The part of the detections that match; 1 where there is none."""
        return self.matching / self.detections if self.detections else 1.0

    @property
    def drop(self) -> float | None:
        """Points of AP (of 100) that are lost; negative where the file is better."""
        return None if self.before is None or self.after is None else 100 * (self.before - self.after)

    def __str__(self) -> str:
        """One line for a person."""
        matches = f"{self.matching} of {self.detections} detections match ({100 * self.share:.1f} %)"
        if not self.detections:
            matches = f"nothing is found with a score of {_CONFIDENT:g} or more, so that nothing could be compared"
        found = f"{self.engines} on {self.images} images: {matches}"
        if self.before is None or self.after is None:
            doubt = "" if self.share >= _FEW else ", which is little"
            return f"{found}{doubt}; accuracy was not measured: name a data set with --data"
        before, after = 100 * self.before, 100 * self.after
        return f"{found}; AP {before:.1f} with torch, {after:.1f} on {self.measured_on} ({after - before:+.1f})"


def check_quantized(
    inference: Inference,
    engines: Sequence[Engine],
    photos: Sequence[NDArray[np.uint8]],
    *,
    measure: Measure | None = None,
    max_drop: float = MAX_DROP,
) -> Accuracy:
    """Compares the file on every one of `engines` with torch on `photos` (RGB, any size), and measures AP on the first.

    Raises `ExportError` where AP falls by more than `max_drop` points, `DataError` where `measure` finds no objects.
    """
    truth = TorchEngine(inference.model)
    inputs = [prepare(photo, truth.spec.input).pixels[None] for photo in photos]
    expected = [truth.run(pixels)[0] for pixels in inputs]
    counts = [
        count_matches(mine, engine.run(pixels)[0])
        for engine in engines
        for mine, pixels in zip(expected, inputs, strict=True)
    ]
    accuracy = Accuracy(
        engines=f"torch and the int8 file on {' and '.join(engine.name for engine in engines)}",
        images=len(photos),
        detections=sum(count for count, _ in counts),
        matching=sum(matching for _, matching in counts),
    )
    return accuracy if measure is None else measured(accuracy, truth, engines[0], measure, max_drop)


def count_matches(first: RawDetections, second: RawDetections) -> tuple[int, int]:
    """(confident detections of both, those among them with a partner on the other side) of one image."""
    counts = [_matching(first, second), _matching(second, first)]
    return sum(count for count, _ in counts), sum(matching for _, matching in counts)


def _matching(of: RawDetections, other: RawDetections) -> tuple[int, int]:
    """(confident detections of the first, those with a partner anywhere in the second)."""
    sure = np.flatnonzero(of.scores >= _CONFIDENT)
    near = np.abs(of.scores[sure][:, None] - other.scores[None]) <= _NEAR
    same = of.labels[sure][:, None] == other.labels[None]
    partner = near & same & (_overlap(of.boxes[sure], other.boxes) >= _OVERLAP)
    return len(sure), int(partner.any(axis=1).sum())


def _overlap(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of boxes [a, 4] and [b, 4]: [a, b]; 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0), np.float32)


def measured(accuracy: Accuracy, truth: Engine, engine: Engine, measure: Measure, max_drop: float) -> Accuracy:
    """The same with AP. Raises `ExportError` where more than `max_drop` points are lost."""
    before, after = measure(truth), measure(engine)
    if before < 0:
        raise DataError("the data set has no objects to measure the accuracy by; name another with --data")
    accuracy = replace(accuracy, measured_on=engine.name, before=before, after=after)
    drop = 100 * (before - after)
    if not drop <= max_drop:  # also where it is not a number
        raise ExportError(
            f"with 8 bits AP falls by {drop:.1f} points, from {100 * before:.1f} to {100 * after:.1f}, and at most "
            f"{max_drop:g} are allowed (--max-drop); calibrate with more images like those it is made for"
        )
    return accuracy
