"""How often each image is drawn in an epoch, where rare classes are to be seen more often than they occur."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from multibox.data.dataset import Record

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Balance = Literal["none", "classes", "repeat_factor"]


def draws_of(records: Sequence[Record], classes: int, balance: Balance, threshold: float) -> Floats | None:
    """The expected draws of each image in an epoch, of which the sum is the number of images; none: each once.

    `classes`: each class has the same share of the draws, and images without objects keep theirs. `repeat_factor`: an
    image is drawn in proportion to max(1, sqrt(threshold / f)), with f the share of the images that show its rarest
    class (Gupta et al., LVIS, 2019, section 4.1: oversampling). What is not learnt, crowds, does not count.
    """
    if balance == "none":
        return None
    shown = np.zeros((len(records), classes), np.bool_)
    for place, record in enumerate(records):
        shown[place, record.labels[~record.crowd]] = True
    images_of = shown.sum(axis=0)
    known = images_of > 0
    if balance == "classes":
        draws = (shown[:, known] / images_of[known]).sum(axis=1) * shown.any(axis=1).sum() / max(1, known.sum())
        draws[~shown.any(axis=1)] = 1.0
    else:
        frequency = np.maximum(images_of, 1) / len(records)
        draws = np.where(shown, np.maximum(1.0, np.sqrt(threshold / frequency)), 1.0).max(axis=1)
    return np.asarray(draws * (len(records) / draws.sum()), np.float64)


def draw(draws: Floats, rng: np.random.Generator) -> Ints:
    """As many draws as there are images, in random order: each as often as expected, rounded up or down by chance.

    Systematic sampling: equally spaced points on the images laid out in random order, each as long as its draws. An
    index that comes again is higher by the number of images, so that it can be changed in another way.
    """
    size = len(draws)
    laid = rng.permutation(size)
    ends = np.cumsum(draws[laid])
    points = (np.arange(size) + rng.random()) * (ends[-1] / size)
    place = np.searchsorted(ends, points, side="right").clip(max=size - 1)
    turn = np.arange(size) - np.searchsorted(place, place)  # points are in order: equal ones are neighbours
    return rng.permutation(laid[place] + size * turn)
