"""The post-processing inside exported files follows `boxes.postprocess`, rule by rule, on both runtimes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from multibox.boxes.postprocess import postprocess
from multibox.errors import ExportError
from multibox.exporting.tail import append_tail
from multibox.spec import ModelSpec
from multibox.zoo import load_spec

LEVELS = (96, 24, 6)
CLASSES = 5
SPEC = load_spec("ssd300_vgg16").with_names(tuple("abcde"))
RULE = replace(
    SPEC.postprocess, score_threshold=0.3, topk=None, iou=0.45, max_detections=50, order="score_descending", clip=True
)


def tail_alone(spec: ModelSpec) -> bytes:
    inputs = [
        helper.make_tensor_value_info("dense_boxes", TensorProto.FLOAT, ["n", sum(LEVELS), 4]),
        helper.make_tensor_value_info("dense_scores", TensorProto.FLOAT, ["n", sum(LEVELS), CLASSES]),
    ]
    graph = helper.make_graph([], "tail", inputs, [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    append_tail(model, spec, LEVELS, "n")
    onnx.checker.check_model(model)
    return model.SerializeToString()


def on_onnxruntime(file: bytes, boxes: np.ndarray, scores: np.ndarray) -> list[np.ndarray]:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(["boxes", "scores", "labels"], {"dense_boxes": boxes, "dense_scores": scores})


def on_openvino(file: bytes, boxes: np.ndarray, scores: np.ndarray) -> list[np.ndarray]:
    pytest.importorskip("openvino")
    from multibox.prediction.engines.openvino_core import openvino_core

    core = openvino_core()
    compiled = core.compile_model(core.read_model(file, b""), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled({"dense_boxes": boxes, "dense_scores": scores})
    return [np.array(found[name]) for name in ("boxes", "scores", "labels")]


RUNTIMES = {"onnxruntime": on_onnxruntime, "openvino": on_openvino}


def candidates(images: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-0.1, 0.8, (images, sum(LEVELS), 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.05, 0.5, corner.shape)], axis=2)
    scores = rng.permutation(images * sum(LEVELS) * CLASSES).reshape(images, sum(LEVELS), CLASSES)
    return boxes.astype(np.float32).clip(0, 1), (scores / scores.size).astype(np.float32)


def assert_same(spec: ModelSpec, runtime: str, boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """The file finds what torch finds, in the same order; gives how many per image."""
    size = (spec.input.height, spec.input.width)
    dense = torch.from_numpy(boxes), torch.from_numpy(scores)
    truth = postprocess(*dense, spec.postprocess, level_sizes=LEVELS, input_size=size)
    found = RUNTIMES[runtime](tail_alone(spec), boxes, scores)
    limit = spec.postprocess.max_detections or 300
    assert [value.shape for value in found] == [(len(boxes), limit, 4), (len(boxes), limit), (len(boxes), limit)]
    assert [value.dtype for value in found] == [np.float32, np.float32, np.int64]
    for image, expected in enumerate(truth):
        count = min(len(expected.scores), limit)
        np.testing.assert_array_equal(found[1][image, :count], expected.scores[:count].numpy())
        np.testing.assert_array_equal(found[2][image, :count], expected.labels[:count].numpy())
        np.testing.assert_array_equal(found[0][image, :count], expected.boxes[:count].numpy())
        assert (found[1][image, count:] == 0).all()
        assert (found[2][image, count:] == -1).all()
        assert (found[0][image, count:] == 0).all()
    return [len(expected.scores) for expected in truth]


RULES = {
    "without top-k": {},
    "top-k per class that binds": {"topk": 10},
    "top-k per class that does not bind": {"topk": 120},
    "top-k over all classes": {"topk": 40, "topk_scope": "global"},
    "top-k per level": {"topk": 30, "topk_scope": "level"},
    "the legacy rule of whole pixels": {"plus_one": True},
    "fewer detections than the limit": {"score_threshold": 0.99},
    "no limit": {"max_detections": None, "score_threshold": 0.8},
    "a low threshold for overlaps": {"iou": 0.1},
    "a limit of each class": {"max_per_class": 3},
    "a limit of each class alone": {"max_per_class": 3, "max_detections": None},
    "a limit of each class above that of all": {"max_per_class": 60},
    "a limit of each class after top-k": {"max_per_class": 3, "topk": 10},
    "a limit of each class in the order of classes": {"max_per_class": 3, "plus_one": True, "max_detections": None},
    "no empty boxes": {"drop_empty": True},
    "no empty boxes, then top-k per class": {"drop_empty": True, "topk": 10},
    "top-k per level, then no empty boxes": {"drop_empty": True, "topk": 30, "topk_scope": "level"},
    "top-k over all classes, then no empty boxes": {"drop_empty": True, "topk": 40, "topk_scope": "global"},
    "an epsilon without top-k": {"iou_eps": 1e-2},
    "an epsilon and top-k per class that binds": {"iou_eps": 1e-2, "topk": 10, "iou": 0.1},
    "an epsilon and top-k over all classes": {"iou_eps": 1e-2, "topk": 40, "topk_scope": "global"},
    "an epsilon and whole pixels": {"iou_eps": 100.0, "plus_one": True},
    "an epsilon and a limit of each class": {"iou_eps": 1e-2, "max_per_class": 3},
    "an epsilon and no empty boxes": {"iou_eps": 1e-2, "drop_empty": True},
    "an epsilon and fewer detections than the limit": {"iou_eps": 1e-2, "score_threshold": 0.99},
    "an epsilon and long chains of removals": {"iou_eps": 1e-2, "iou": 0.02, "score_threshold": 0.01},
}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("rule", RULES)
def test_the_file_finds_what_torch_finds(rule, runtime):
    spec = replace(SPEC, postprocess=replace(RULE, **RULES[rule]))
    counts = assert_same(spec, runtime, *candidates(images=3))
    assert min(counts) > 0


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_boxes_without_width_or_height_are_not_found_where_the_rule_says_so(runtime):
    boxes, scores = candidates(images=1)
    boxes[0, ::3, 2], boxes[0, 1::3, 3] = boxes[0, ::3, 0], boxes[0, 1::3, 1]
    for topk, scope in ((None, "class"), (10, "class"), (30, "level"), (60, "global")):
        rule = replace(RULE, drop_empty=True, topk=topk, topk_scope=scope, max_detections=None, iou=0.99)
        found = assert_same(replace(SPEC, postprocess=rule), runtime, boxes, scores)
        everything = assert_same(replace(SPEC, postprocess=replace(rule, drop_empty=False)), runtime, boxes, scores)
        assert 0 < found[0] <= everything[0]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("images", [1, 2, 7])
def test_any_number_of_images(images, runtime):
    spec = replace(SPEC, postprocess=replace(RULE, topk=20))
    assert len(assert_same(spec, runtime, *candidates(images, seed=images))) == images


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_images_without_detections_are_padding_only(runtime):
    boxes, scores = candidates(images=3)
    scores[1] = 0
    assert assert_same(replace(SPEC, postprocess=RULE), runtime, boxes, scores)[1] == 0
    assert assert_same(replace(SPEC, postprocess=RULE), runtime, boxes, 0 * scores) == [0, 0, 0]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_score_equal_to_the_threshold_is_not_found(runtime):
    boxes, scores = candidates(images=1)
    scores = np.where(scores > 0.9, np.float32(RULE.score_threshold), 0).astype(np.float32)
    assert assert_same(replace(SPEC, postprocess=RULE), runtime, boxes, scores) == [0]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("inclusive", [False, True])
def test_an_overlap_equal_to_the_threshold_counts_as_the_rule_says(inclusive, runtime):
    boxes, scores = candidates(images=1)
    scores[:] = 0
    boxes[0, :2] = [[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.25]]  # IoU exactly one half
    scores[0, :2, 0] = [0.9, 0.8]
    spec = replace(SPEC, postprocess=replace(RULE, iou=0.5, iou_inclusive=inclusive))
    assert assert_same(spec, runtime, boxes, scores) == [1 if inclusive else 2]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_as_many_candidates_go_on_as_top_k_says_even_where_scores_tie(runtime):
    boxes, scores = candidates(images=1)
    grid = np.arange(sum(LEVELS), dtype=np.float32) / sum(LEVELS)
    boxes[0] = np.stack([grid, grid, grid + 0.001, grid + 0.001], axis=1)  # apart from each other
    scores[:] = 0
    scores[0, :, 2] = 0.5
    spec = replace(SPEC, postprocess=replace(RULE, topk=20))
    found = RUNTIMES[runtime](tail_alone(spec), boxes, scores)
    assert (found[2] == 2).sum() == 20


@pytest.mark.parametrize("limits", [{"topk": 1001}, {"topk": 100, "topk_scope": "level"}])
def test_a_rule_that_an_exported_file_cannot_follow_is_refused_by_name(limits):
    with pytest.raises(ExportError, match="iou_eps"):
        tail_alone(replace(SPEC, postprocess=replace(RULE, iou_eps=1e-5, **limits)))


def test_the_sheets_rules_can_be_exported():
    for name in ("ssd300_vgg16.torchvision_coco", "ssdlite320_mobilenet_v3_large.torchvision_coco"):
        spec = load_spec(name)
        assert len(tail_alone(replace(SPEC, postprocess=spec.postprocess))) > 0
