"""How good the network is now: the same evaluation as `multibox evaluate`, on the live network."""

from __future__ import annotations

from multibox.data.dataset import Dataset
from multibox.evaluation.evaluate import evaluate
from multibox.network.model import SSD
from multibox.prediction.detector import Detector
from multibox.prediction.engines.torch_engine import TorchEngine


def validate(network: SSD, dataset: Dataset, batch: int) -> dict[str, float]:
    """COCO's 12 numbers and the AP of each class (`AP/NAME`); the network is left in the mode that it was in."""
    training = network.training
    network.eval()
    try:
        report = evaluate(Detector(TorchEngine(network)), dataset, batch=batch)
    finally:
        network.train(training)
    return {**report.metrics, **{f"AP/{row.name}": row.AP for row in report.per_class}}
