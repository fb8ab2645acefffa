"""An evaluation shared by several processes: each looks at some of the images, one computes the numbers of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from multibox.data.dataset import Dataset
from multibox.evaluation.evaluate import Findings, Progress, find, in_order, score
from multibox.evaluation.report import Report
from multibox.prediction.detector import Detector
from multibox.prediction.tiles import Tiles


class Share(NamedTuple):
    """What one process found; `places` are those of its images in `in_order`."""

    places: list[int]
    findings: Findings


def find_share(
    detector: Detector,
    dataset: Dataset,
    *,
    rank: int,
    world: int,
    batch: int = 8,
    conf: float | None = None,
    progress: Progress | None = None,
    tiles: Tiles | None = None,
) -> Share:
    """The part of `rank` of `world` processes; `progress` counts the images of this part.

    Processes take whole batches in turn, the very ones that one process would run: as the rounding of a network can
    depend on its batch, only so the numbers are exactly those of one process.
    """
    records = in_order(dataset)
    places = [place for place in range(len(records)) if place // batch % world == rank]
    chosen = [records[place] for place in places]
    return Share(places, find(detector, dataset, chosen, batch=batch, conf=conf, progress=progress, tiles=tiles))


def score_shares(detector: Detector, dataset: Dataset, shares: Sequence[Share]) -> Report:
    """What `evaluate` would give; `shares` are those of all processes, `seconds` the longest."""
    whole = sorted(
        (one for places, found in shares for one in zip(places, found.parts, found.problems, strict=True)),
        key=lambda one: one[0],
    )
    seconds = max(found.seconds for _, found in shares)
    return score(detector, dataset, Findings([part for _, part, _ in whole], [said for *_, said in whole], seconds))
