"""TensorFlow's two published detectors, once imported, reach on real photos the COCO numbers known of them."""

import json
from pathlib import Path

import pytest

import multibox
from multibox.data.open import open_dataset
from multibox.evaluation.evaluate import evaluate

_FILES = {
    "tf1_ssd_mobilenet_v1_075_quant_coco.tflite": "tf1_ssd_mobilenet_v1_075 (dequantised, float)",
    "tf2_ssd_mobilenet_v2_fpnlite_320_coco.tflite": "tf2_ssd_mobilenet_v2_fpnlite_320 (dequantised, float)",
}
_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
_TOLERANCE = 0.002


@pytest.mark.slow
@pytest.mark.parametrize("file", _FILES)
def test_an_imported_detector_reaches_all_twelve_numbers(shared_data: Path, shared_weights: Path, file: str) -> None:
    expected = json.loads((shared_weights / "expected_coco_val164.json").read_text())["stats"][_FILES[file]]
    detector = multibox.load(shared_weights / file, engine="torch")
    report = evaluate(detector, open_dataset(shared_data / "coco_sample", "val"))
    assert report.images == 164
    assert [report.metrics[name] for name in _METRICS] == pytest.approx(expected, abs=_TOLERANCE)
