"""From numbers seen to the scale of their 8-bit codes: as wide as needed, and no wider than it pays."""

from __future__ import annotations

import numpy as np

from multibox.exporting.calibration import Seen
from multibox.exporting.qdq import Scale

_BINS = 2048
_NARROWER = np.linspace(1.0, 0.3, 15)
"""Parts of the whole range that are tried."""
_SIDED = 0.01
"""Below this share of the other side, what lies on one side of 0 is left as wide as it is."""


def best_scale(seen: Seen) -> Scale:
    """The scale that loses least over the numbers seen, in squared error: a few outliers are cut off where many others
    gain by it.
    """
    counts, edges = np.histogram(seen.numbers, _BINS, (seen.lowest, seen.highest or 1e-9))
    filled = counts > 0
    numbers, weights = ((edges[:-1] + edges[1:]) / 2)[filled].astype(np.float32), counts[filled]
    both = min(-seen.lowest, seen.highest) > _SIDED * max(-seen.lowest, seen.highest)
    below = _NARROWER if both or seen.highest < -seen.lowest else _NARROWER[:1]
    above = _NARROWER if both or seen.highest >= -seen.lowest else _NARROWER[:1]
    scales = [Scale.spanning(seen.lowest * low, seen.highest * high) for low in below for high in above]
    losses = [float(weights @ np.square(scale.rounded(numbers) - numbers)) for scale in scales]
    return scales[int(np.argmin(losses))]
