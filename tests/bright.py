"""A real, if small, detector for the tests: it finds bright red, green and blue areas and boxes each colour."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from multibox import load_spec
from multibox.prediction.engines.base import RawDetections

NAMES = ("red", "green", "blue")


class BrightEngine:
    """Boxes each of the three colours where it is much brighter than the others; the score is its mean brightness."""

    name = "bright"
    calls = 1

    def __init__(self, resize: str = "stretch") -> None:
        spec = load_spec("ssdlite320_mobilenet_v3_large").with_names(NAMES, (11, 22, 33))
        self.spec = replace(spec, input=replace(spec.input, resize=resize))
        self.batches: list[int] = []

    def run(self, batch: np.ndarray) -> list[RawDetections]:
        self.batches.append(len(batch))
        return [self._find(image.astype(np.int32)) for image in batch]

    def _find(self, image: np.ndarray) -> RawDetections:
        height, width = image.shape[:2]
        boxes, scores, labels = [], [], []
        for channel in range(3):
            lead = image[..., channel] - np.delete(image, channel, axis=2).max(axis=2)
            ys, xs = np.nonzero(lead > 64)
            if len(xs):
                x1, y1, x2, y2 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
                boxes.append((x1 / width, y1 / height, x2 / width, y2 / height))
                scores.append(image[ys, xs, channel].mean() / 255)
                labels.append(channel)
        return RawDetections(
            np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
        )


class SpotEngine(BrightEngine):
    """Boxes every single spot of a colour, not only their extent."""

    def run(self, batch: np.ndarray) -> list[RawDetections]:
        self.batches.append(len(batch))
        return [self._find(image) for image in batch]

    def _find(self, image: np.ndarray) -> RawDetections:
        height, width = image.shape[:2]
        boxes, scores, labels = [], [], []
        for channel in range(3):
            lead = cv2.subtract(image[..., channel], cv2.max(image[..., channel - 1], image[..., channel - 2]))
            _, _, spots, _ = cv2.connectedComponentsWithStats((lead > 64).astype(np.uint8))
            for x, y, w, h, _ in spots[1:]:
                boxes.append((x / width, y / height, (x + w) / width, (y + h) / height))
                scores.append(image[y : y + h, x : x + w, channel].mean() / 255)
                labels.append(channel)
        return RawDetections(
            np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
        )


def picture(width: int = 640, height: int = 480, **areas: tuple[int, int, int, int, int]) -> np.ndarray:
    """A black picture with areas `red=(x1, y1, x2, y2, brightness)`."""
    image = np.zeros((height, width, 3), np.uint8)
    for name, (x1, y1, x2, y2, bright) in areas.items():
        image[y1:y2, x1:x2, NAMES.index(name)] = bright
    return image


def save(path: Path, **areas: tuple[int, int, int, int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(**areas)).save(path)
    return path
