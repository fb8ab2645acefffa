"""NMS with an epsilon as ONNX nodes keeps what `boxes.nms` keeps, on both runtimes, crowded, chained or tied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from multibox.boxes.nms import nms
from multibox.errors import ExportError
from multibox.exporting.dense_nms import MOST_CANDIDATES, bounded, dense_nms
from multibox.exporting.graph import GraphBuilder
from multibox.exporting.ranking import NO_SCORE, only_best
from multibox.spec import PostprocessSpec

RULE = PostprocessSpec(score_threshold=0.25, topk=200, iou=0.45, iou_eps=1e-5)


def _run(
    runtime: str, build: Callable[[GraphBuilder], str], kind: int, shape: list[int | str], **given: np.ndarray
) -> np.ndarray:
    """The value that `build` makes of the inputs named in `given`."""
    inputs = [helper.make_tensor_value_info(k, TensorProto.FLOAT, [None] * v.ndim) for k, v in given.items()]
    graph = helper.make_graph([], "part", inputs, [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    builder = GraphBuilder(model.graph)
    builder.add("Identity", build(builder), output="out")
    builder.output("out", shape, kind)
    onnx.checker.check_model(model)
    file = model.SerializeToString()
    if runtime == "onnxruntime":
        session = pytest.importorskip("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])
        return session.run(["out"], given)[0]
    pytest.importorskip("openvino")
    from multibox.prediction.engines.openvino_core import openvino_core

    core = openvino_core()
    compiled = core.compile_model(core.read_model(file, b""), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled(given)["out"])


def _kept(runtime: str, boxes: np.ndarray, scores: np.ndarray, rule: PostprocessSpec = RULE) -> list[tuple[int, ...]]:
    """(image, class, prior) of what stays of boxes [n, p, 4] with scores [n, c, p]."""

    def build(graph: GraphBuilder) -> str:
        return dense_nms(graph, "boxes", "scores", rule, boxes.shape[1])

    found = _run(runtime, build, TensorProto.INT64, ["m", 3], boxes=boxes, scores=scores)
    return [tuple(row) for row in found.tolist()]


def _truth(boxes: np.ndarray, scores: np.ndarray, rule: PostprocessSpec = RULE) -> list[tuple[int, ...]]:
    """The same by `boxes.nms`."""
    image, label, prior = (scores > rule.score_threshold).nonzero()
    group = torch.from_numpy(image * scores.shape[1] + label)
    chosen = torch.from_numpy(boxes[image, prior]), torch.from_numpy(scores[image, label, prior])
    kept = nms(*chosen, group, rule.iou, inclusive=rule.iou_inclusive, eps=rule.iou_eps).numpy()
    return sorted(zip(image[kept].tolist(), label[kept].tolist(), prior[kept].tolist(), strict=True))


def _crowd(priors: int, images: int = 2, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(images)
    corner = rng.uniform(0, 0.7, (images, priors, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.1, 0.3, corner.shape)], axis=2).astype(np.float32)
    return boxes, rng.uniform(0, 1, (images, classes, priors)).astype(np.float32)


RUNTIMES = ("onnxruntime", "openvino")


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("eps", [1e-5, 1e-2])
@pytest.mark.parametrize("inclusive", [False, True])
def test_it_keeps_what_the_greedy_rule_keeps(runtime: str, eps: float, inclusive: bool) -> None:
    boxes, scores = _crowd(150)
    rule = replace(RULE, iou_eps=eps, iou_inclusive=inclusive)
    assert _kept(runtime, boxes, scores, rule) == _truth(boxes, scores, rule)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(("images", "classes"), [(1, 1), (3, 1), (1, 20), (5, 2)])
def test_any_number_of_images_and_classes(runtime: str, images: int, classes: int) -> None:
    boxes, scores = _crowd(90, images, classes)
    assert _kept(runtime, boxes, scores) == _truth(boxes, scores)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_epsilon_saves_small_boxes(runtime: str) -> None:
    boxes = np.array([[[0.5, 0.5, 0.502, 0.502], [0.5, 0.5, 0.502, 0.5015]]], np.float32)  # IoU three quarters
    scores = np.array([[[0.9, 0.8]]], np.float32)
    assert _kept(runtime, boxes, scores) == _truth(boxes, scores) == [(0, 0, 0), (0, 0, 1)]
    assert _kept(runtime, boxes * 1.5, scores, replace(RULE, iou_eps=1e-9)) == [(0, 0, 0)]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_chain_of_removals_is_followed_to_its_end(runtime: str) -> None:
    """Each box is removed by the one before it, if that stays: every second one stays."""
    left = np.arange(100, dtype=np.float32) * 0.005
    boxes = np.stack([left, 0 * left, left + 0.02, 0 * left + 1], axis=1)[None].astype(np.float32)
    scores = np.linspace(0.9, 0.5, 100, dtype=np.float32)[None, None]
    rule = replace(RULE, iou=0.55)  # neighbours share 0.6, the next but one 0.33
    kept = _kept(runtime, boxes, scores, rule)
    assert kept == _truth(boxes, scores, rule) == [(0, 0, i) for i in range(0, 100, 2)]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_of_equal_scores_the_lower_prior_comes_first(runtime: str) -> None:
    boxes, scores = _crowd(150)
    scores = (scores * 4).round() / 4
    assert _kept(runtime, boxes, scores) == _truth(boxes, scores)
    assert _kept(runtime, boxes, 0 * scores + 0.5) == _truth(boxes, 0 * scores + 0.5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_nothing_above_the_threshold_gives_nothing(runtime: str) -> None:
    boxes, scores = _crowd(20)
    assert _kept(runtime, boxes, 0 * scores) == []
    assert _kept(runtime, boxes, 0 * scores + np.float32(RULE.score_threshold)) == []


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("rows", [(1,), (4,), (1, 1), (3, 1), (1, 5), (2, 40)])
def test_as_many_as_asked_for_stay_and_of_equal_scores_the_first(runtime: str, rows: tuple[int, ...]) -> None:
    scores = (np.random.default_rng(0).integers(1, 6, (*rows, 300)) / 5).astype(np.float32)
    shape: list[int | str] = list(scores.shape)
    found = _run(runtime, lambda graph: only_best(graph, "scores", 70), TensorProto.FLOAT, shape, scores=scores)
    rank = np.argsort(np.argsort(-scores, kind="stable"))
    assert np.array_equal(found, np.where(rank < 70, scores, np.float32(NO_SCORE)))


def test_a_rule_without_top_k_gets_the_bound_and_one_beyond_it_is_refused() -> None:
    assert bounded(replace(RULE, topk=None)).topk == MOST_CANDIDATES
    assert bounded(RULE) == RULE
    for rule in (replace(RULE, topk=MOST_CANDIDATES + 1), replace(RULE, topk_scope="level")):
        with pytest.raises(ExportError, match="compares at most 1000 boxes of a class") as caught:
            bounded(rule)
        assert "\n" not in str(caught.value)
