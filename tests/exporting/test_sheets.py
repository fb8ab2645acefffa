"""Sheets of every kind of network and of post-processing become files that agree with torch on every runtime.

All sheets do, by `MULTIBOX_ALL_SHEETS=1 pytest -m slow tests/exporting/test_sheets.py`, which takes most of an hour.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from multibox.exporting.check import sample_images
from multibox.exporting.onnx import export_onnx
from multibox.network.heads import expect_background
from multibox.zoo import list_models
from sheets import lively, named

pytestmark = pytest.mark.slow

OF_EVERY_KIND = [
    "ssd300_mobilenet_v1.chuanqi_voc",
    "ssd300_resnet18.nvidia_coco",
    "ssd512_mobilenet_v1.gluoncv_voc",
    "ssdlite300_mobilenet_v1.qfgaohao_voc",
    "ssdlite300_squeezenet.qfgaohao_voc",
    "ssdlite320_mobilenet_v2.mmdet_coco",
    "ssdlite320_mobilenext",
    "ssdlite320x240_rfb.ultra_light_face",
]


@pytest.mark.parametrize("name", list_models() if "MULTIBOX_ALL_SHEETS" in os.environ else OF_EVERY_KIND)
def test_a_sheet_exports_and_agrees(name: str, tmp_path: Path) -> None:
    spec = named(name)
    model = lively(spec)
    if spec.postprocess.topk is None:  # NMS of all priors and classes: as after training, few of them pass
        expect_background(model.head, spec, 0.02)
    assert export_onnx(model, tmp_path / "model.onnx", images=sample_images()[:2]).agrees
