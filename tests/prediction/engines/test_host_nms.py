"""Post-processing without torch gives what torch's gives, to the last bit, over the rules of the sheets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from multibox.boxes.postprocess import postprocess
from multibox.prediction.engines.host_nms import find
from multibox.prediction.engines.host_suppress import Rule, suppress
from multibox.spec import ModelSpec, PostprocessSpec
from sheets import named

LEVELS = (400, 150, 50)
SHEETS = {
    "ssd300_vgg16.caffe_coco": "top-k per class",
    "ssd300_resnet34.mlperf_coco": "top-k of the whole image",
    "ssdlite320_mobilenet_v2.mmdet_coco": "top-k per level, empty boxes dropped",
    "ssd300_mobilenet_v2.mindcv_coco": "whole pixels, a limit per class",
    "ssdlite320x240_rfb.ultra_light_face": "an epsilon in IoU",
    "ssdlite320_mobilenet_v3_large.torchvision_coco": "torchvision's",
    "ssd640_resnet50_fpn.mindcv_coco": "a pyramid's",
}


def crowd(classes: int, seed: int, images: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Boxes in clusters, some beyond the image, some empty, some equal; scores of few values, so that many tie."""
    rng = np.random.default_rng(seed)
    priors = sum(LEVELS)
    low = rng.integers(-2, 20, (images, priors, 2)) / 20 + rng.normal(0, 0.01, (images, priors, 2))
    boxes = np.concatenate([low, low + rng.integers(0, 12, (images, priors, 2)) / 20], axis=2).astype(np.float32)
    boxes[:, ::7] = boxes[:, :1]
    scores = rng.random((images, priors, classes)).astype(np.float32) ** 3
    return boxes, np.round(scores, 2).astype(np.float32)


def both(spec: ModelSpec, boxes: np.ndarray, scores: np.ndarray) -> int:
    """Compares the two bit by bit; returns how many detections there are."""
    rule = replace(spec.postprocess, order="score_descending")
    size = (spec.input.height, spec.input.width)
    tensors = torch.from_numpy(boxes), torch.from_numpy(scores)
    expected = postprocess(*tensors, rule, level_sizes=LEVELS, input_size=size)
    found = find(boxes, scores, spec, LEVELS)
    for ours, theirs in zip(found, expected, strict=True):
        for part, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(part, other.numpy())
    assert all((one.boxes.dtype, one.scores.dtype, one.labels.dtype) == (np.float32, np.float32, int) for one in found)
    return sum(len(one.scores) for one in found)


@pytest.mark.parametrize("name", SHEETS)
def test_a_sheets_rule_gives_what_torch_gives(name):
    spec = named(name)
    boxes, scores = crowd(min(len(spec.labels.names), 5), seed=len(name))
    assert both(spec, boxes, scores) > 20
    tight = replace(spec, postprocess=replace(spec.postprocess, topk=60, score_threshold=0.05))
    assert both(tight, boxes, scores) > 20


@pytest.mark.parametrize("scope", ["class", "level", "global"])
@pytest.mark.parametrize("clip", [True, False])
def test_every_scope_of_top_k_and_the_legacy_rule_agree(scope, clip):
    spec = named("ssd300_vgg16.caffe_coco")
    rule = PostprocessSpec(
        score_threshold=0.02, topk=90, topk_scope=scope, iou=0.45, plus_one=not clip, clip=clip, iou_inclusive=clip
    )
    assert both(replace(spec, postprocess=rule), *crowd(3, seed=7)) > 20


def test_a_crowd_of_more_than_is_decided_at_once_agrees():
    spec = named("ssd300_vgg16.caffe_coco")
    rule = PostprocessSpec(score_threshold=0.0, iou=0.9, clip=False)
    boxes, scores = crowd(2, seed=3, images=1)
    assert both(replace(spec, postprocess=rule), np.tile(boxes, (1, 2, 1)), np.tile(scores, (1, 2, 1))) > 256


def test_nothing_above_the_threshold_is_no_detection():
    spec = named("ssd300_vgg16.caffe_coco")
    boxes, scores = crowd(2, seed=0)
    found = find(boxes, np.zeros_like(scores), spec, LEVELS)
    assert [(one.boxes.shape, one.scores.shape, one.labels.shape) for one in found] == [((0, 4), (0,), (0,))] * 2
    assert find(boxes[:0], scores[:0], spec, LEVELS) == []


def test_one_box_stays_and_its_copy_goes():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 1]], np.float32)
    rule = Rule(np.float32(0.5), False, np.float32(0), np.float32(0))
    assert suppress(boxes[:1], np.array([0]), rule).tolist() == [True]
    assert suppress(boxes, np.array([0, 0]), rule).tolist() == [True, False]
    assert suppress(boxes, np.array([0, 1]), rule).tolist() == [True, True]
