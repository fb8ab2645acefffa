"""Pictures to look at: what the network is shown, and what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray
from PIL import Image

from multibox.data.dataset import Record
from multibox.images.read import read_image
from multibox.network.model import SSD
from multibox.prediction.detector import Detector
from multibox.prediction.engines.torch_engine import TorchEngine
from multibox.results.draw import draw
from multibox.results.files import placed
from multibox.training.feed.loader import TrainBatch
from multibox.training.feed.pixels import finished_pixels

Pixels = NDArray[np.uint8]

_SHOWN_CONF = 0.25
_MOST_SHOWN = 100
_WIDTH = 640


def draw_batch(batch: TrainBatch, names: Sequence[str], path: Path) -> None:
    """A batch of augmented samples with their objects, as a square of at most 4 x 4."""
    height, width = batch.images.shape[1:3]
    scale = np.array([width, height, width, height], np.float32)
    drawn = []
    shown = finished_pixels(batch), batch.boxes, batch.labels, batch.valid
    for image, boxes, labels, valid in zip(*(part[:16].numpy() for part in shown), strict=True):
        drawn.append(draw(image, _truth(boxes[valid] * scale, labels[valid], names)))
    columns = min(4, len(drawn))
    drawn += [np.zeros_like(drawn[0])] * (-len(drawn) % columns)
    _write(path, np.vstack([np.hstack(drawn[i : i + columns]) for i in range(0, len(drawn), columns)]))


def draw_predictions(network: SSD, records: Sequence[Record], path: Path) -> None:
    """Each record's photo twice: the truth on the left, what is found with a score of 0.25 or more on the right."""
    training = network.training
    detector = Detector(TorchEngine(network.eval()))
    rows = []
    for record in records:
        photo = read_image(record.path)
        found = detector.predict(photo, conf=_SHOWN_CONF, max_det=_MOST_SHOWN)
        truth = _truth(record.boxes, record.labels, detector.names)
        rows.append(np.hstack([_fit(draw(photo, shown)) for shown in (truth, found)]))
    network.train(training)
    _write(path, np.vstack(rows))


def _truth(boxes: NDArray[np.float32], labels: NDArray[np.int64], names: Sequence[str]) -> sv.Detections:
    """Objects without scores."""
    data = {"class_name": np.array(names, np.str_)[labels]}
    return sv.Detections(xyxy=boxes.reshape(-1, 4), class_id=labels, data=data)


def _fit(image: Pixels) -> Pixels:
    """The image at a common width."""
    height = max(1, round(image.shape[0] * _WIDTH / image.shape[1]))
    return np.asarray(cv2.resize(image, (_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)


def _write(path: Path, image: Pixels) -> None:
    """Writes a JPEG whole or not at all."""
    with placed(path) as part:
        Image.fromarray(image).save(part, format="JPEG", quality=90)
