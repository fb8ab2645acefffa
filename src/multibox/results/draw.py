"""Detections drawn on the picture: boxes coloured by class, labels `person 0.87` that stay inside and apart."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from multibox.installed import matplotlib_file

if TYPE_CHECKING:
    import supervision as sv

_COLORS = (
    *("#A351FB", "#FF4040", "#FFA1A0", "#FF7633", "#FFB633", "#D1D435", "#4CFB12"),
    *("#94CF1A", "#40DE8A", "#1B9640", "#00D6C1", "#2E9CAA", "#00C4FF", "#364797"),
    *("#6675FF", "#0019EF", "#863AFF", "#530087", "#CD3AFF", "#FF97CA", "#FF39C9"),
)
"""supervision's palette; a class keeps its colour by its number, modulo the length."""


def draw(image: npt.NDArray[np.uint8], detections: sv.Detections) -> npt.NDArray[np.uint8]:
    """A copy of `image` (uint8 [H, W, 3] RGB) with boxes (pixels) and labels; low scores lie below high ones.

    Labels are `data["class_name"]` (the class number without it) and the score with two digits. Lines and letters grow
    with the picture.
    """
    if not len(detections):
        return image.copy()
    ordered = _lowest_first(detections)
    size = (image.shape[1] + image.shape[0]) / 2
    boxes, letters = _annotators(max(2, round(size * 0.004)), max(9, round(size * 0.025)))
    labels = _texts(ordered)
    scene = boxes.annotate(Image.fromarray(image), ordered)
    scene = letters.annotate(scene, _placed(ordered, labels, letters, image.shape[1], image.shape[0]), labels)
    return np.array(scene)


@lru_cache(maxsize=8)
def _annotators(line: int, letters: int) -> tuple[sv.BoxAnnotator, sv.RichLabelAnnotator]:
    """supervision's annotators for a line width and a letter height in pixels."""
    import supervision as sv

    colors = sv.ColorPalette.from_hex(list(_COLORS))
    ink = sv.ColorPalette.from_hex([_ink(color) for color in _COLORS])
    text = sv.RichLabelAnnotator(
        color=colors, text_color=ink, font_path=_font(), font_size=letters, text_padding=max(2, letters // 4)
    )
    return sv.BoxAnnotator(color=colors, thickness=line), text


@lru_cache(maxsize=1)
def _font() -> str | None:
    """DejaVu Sans (Latin, Greek, Cyrillic) out of matplotlib, found without importing it; else Pillow's own font."""
    path = matplotlib_file("fonts/ttf/DejaVuSans.ttf")
    return str(path) if path else None


def _ink(color: str) -> str:
    """Black or white, whichever is easier to read on the colour (by its luminance)."""
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#FFFFFF"


def _lowest_first(detections: sv.Detections) -> sv.Detections:
    """The detections by rising score, so that the surest is drawn last."""
    scores = detections.confidence
    order = np.arange(len(detections))[::-1] if scores is None else np.argsort(scores, kind="stable")
    return detections[order]


def _texts(detections: sv.Detections) -> list[str]:
    """One label per detection."""
    count = len(detections)
    ids = detections.class_id if detections.class_id is not None else [""] * count
    names = detections.data.get("class_name", ids)
    if detections.confidence is None:
        return [str(name) for name in names]
    return [f"{name} {score:.2f}" for name, score in zip(names, detections.confidence, strict=True)]


def _placed(
    detections: sv.Detections, labels: list[str], letters: sv.RichLabelAnnotator, width: int, height: int
) -> sv.Detections:
    """The detections with boxes moved so that labels, whose lower left end is at a box's upper left, are well placed.

    A label goes above its box, else inside at its top, else below it, else inside at its bottom: the first place that
    is in the picture and clear of the labels of surer detections; where none is, the first, pushed into the picture.
    """
    corners = np.zeros((len(labels), 4), np.float32)
    taken: list[tuple[float, float, float, float]] = []
    for at in reversed(range(len(labels))):
        left, top, right, bottom = letters.font.getbbox(labels[at])
        wide, tall = right - left + 2 * letters.text_padding, bottom - top + 2 * letters.text_padding
        x1, y1, _, y2 = detections.xyxy[at]
        x = float(np.clip(x1, 0, max(0, width - wide)))
        ends = [float(end) for end in (y1, y1 + tall, y2 + tall, y2)]
        first = float(np.clip(ends[0] if ends[0] >= tall else ends[1], tall, max(tall, height)))
        spots = [(x, end - tall, x + wide, end) for end in ends if tall <= end <= height]
        spot = next((s for s in spots if not any(_touch(s, t) for t in taken)), (x, first - tall, x + wide, first))
        taken.append(spot)
        corners[at] = (spot[0], spot[3], spot[2], spot[3] + 1)
    return replace(detections, xyxy=corners)


def _touch(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    """Whether two rectangles x1, y1, x2, y2 overlap."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
