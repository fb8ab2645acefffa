"""Sheets of the Caffe models, and of mmdetection, which follows them, have the priors that Caffe's PriorBox makes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from multibox.boxes.coding import to_corners
from multibox.network.build import build_model
from multibox.zoo import load_spec

FILE = Path(os.environ.get("MULTIBOX_PARITY", Path(__file__).parents[1] / "parity")) / "caffe__priors.npz"
SHEETS = {
    "ssd300_vgg16.caffe_voc": "ssd300_voc",
    "ssd300_vgg16.caffe_coco": "ssd300_coco",
    "ssd512_vgg16.caffe_voc": "ssd512_voc",
    "ssd512_vgg16.caffe_coco": "ssd512_coco",
    "ssd300_vgg16.mmdet_voc": "ssd300_voc",
    "ssd300_vgg16.mmdet_coco": "ssd300_coco",
    "ssd512_vgg16.mmdet_voc": "ssd512_voc",
    "ssd512_vgg16.mmdet_coco": "ssd512_coco",
    "ssd300_mobilenet_v1.chuanqi_voc": "chuanqi_mobilenet300",
}


@pytest.mark.skipif(not FILE.is_file(), reason=f"needs {FILE.name}; MULTIBOX_PARITY names the folder that has it")
@pytest.mark.parametrize("name", SHEETS)
def test_a_sheet_has_the_priors_of_caffe(name: str) -> None:
    spec = load_spec(name)
    ours = to_corners(build_model(spec.with_names(("thing",))).priors)
    with np.load(FILE) as arrays:
        theirs = torch.from_numpy(arrays[f"priors_{SHEETS[name]}"])
    assert ours.shape == theirs.shape and (ours - theirs).abs().max() <= 1e-6
