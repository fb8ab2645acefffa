"""Photometric distortion as one matrix: brightness, contrast, saturation and hue are affine in colour.

Per pixel the whole distortion is `matrix @ (r, g, b, 1)`, done once in uint8. Against the chain of separate steps two
things differ, both invisible to a detector: values are limited to 0..255 once at the end, and hue turns about the grey
axis (as in YIQ) instead of around HSV's hexagon. Contrast pivots on the mean grey of what is seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from multibox.images.read import Pixels

_GREY = np.array([0.299, 0.587, 0.114])
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)
_LUMA, _CHROMA, _TURNED = (
    _FROM_YIQ @ np.array(part, np.float64) @ _TO_YIQ
    for part in (
        [[1, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 0, 0], [0, 0, -1], [0, 1, 0]],
    )
)
"""A turn of the hue by t is `_LUMA + cos(t) * _CHROMA + sin(t) * _TURNED`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Photometric:
    """Ranges (low, high) of factors, hue in turns of the colour circle; each is drawn with probability `p`.

    `shuffle_p` is the probability of a random order of the colour channels.
    """

    brightness: tuple[float, float] = (0.875, 1.125)
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: tuple[float, float] = (-0.05, 0.05)
    p: float = 0.5
    shuffle_p: float = 0.0


def mean_color(image: Pixels, area: tuple[int, int, int, int]) -> NDArray[np.float64]:
    """Mean RGB [3] of the part x1, y1, x2, y2 of an image."""
    x1, y1, x2, y2 = area
    return np.array(cv2.mean(image[y1:y2, x1:x2])[:3])


def draw_matrix(spec: Photometric, mean: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64] | None:
    """One drawn distortion as [3, 4], for an image of mean colour `mean` [3]; None where nothing is drawn.

    In the paper's order: brightness, contrast, saturation, hue, or with contrast last; then the channels' order.
    """
    chosen = rng.random(6).tolist()
    factor = rng.random(4).tolist()
    shuffled = chosen[5] < spec.shuffle_p
    kinds = [kind for kind in ((0, 1, 2, 3) if chosen[4] < 0.5 else (0, 2, 3, 1)) if chosen[kind] < spec.p]
    if not kinds and not shuffled:
        return None
    whole = np.eye(3, 4)
    for kind in kinds:
        low, high = (spec.brightness, spec.contrast, spec.saturation, spec.hue)[kind]
        whole = _after(whole, kind, low + (high - low) * factor[kind], mean)
    return whole[rng.permutation(3)] if shuffled else whole


def _after(whole: NDArray[np.float64], kind: int, value: float, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distortion `whole` [3, 4], then brightness (0), contrast (1), saturation (2) or hue (3) on what it gives."""
    if kind == 3:
        turn = 2 * math.pi * value
        return np.asarray((_LUMA + math.cos(turn) * _CHROMA + math.sin(turn) * _TURNED) @ whole)
    changed = whole * value
    if kind == 1:
        changed[:, 3] += (1.0 - value) * float(_GREY @ (whole[:, :3] @ mean + whole[:, 3]))
    elif kind == 2:
        changed += (1.0 - value) * (_GREY @ whole)
    return changed
