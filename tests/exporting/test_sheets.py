"""Sheets of every kind of network and of post-processing become files that agree with torch on every runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibox.exporting.onnx import export_onnx
from sheets import lively, named

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        "ssd300_mobilenet_v1.chuanqi_voc",
        "ssd300_resnet18.nvidia_coco",
        "ssd512_mobilenet_v1.gluoncv_voc",
        "ssdlite300_mobilenet_v1.qfgaohao_voc",
        "ssdlite300_squeezenet.qfgaohao_voc",
        "ssdlite320_mobilenet_v2.mmdet_coco",
        "ssdlite320_mobilenext",
        "ssdlite320x240_rfb.ultra_light_face",
    ],
)
def test_a_sheet_exports_and_agrees(name: str, tmp_path: Path) -> None:
    assert export_onnx(lively(named(name)), tmp_path / "model.onnx").agrees
