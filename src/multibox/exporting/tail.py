"""The post-processing of a spec as ONNX nodes behind the network: threshold, top-k, NMS per class, best detections.

The rule is `boxes.postprocess`'s, exactly. The top-k before NMS is the costly part (a partial sort of every class), and
nearly never binds on a real photo; so the graph counts the candidates first, and sorts only where there are too many.
Most priors have no score above the threshold in any class; all but them go before anything else is done.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto

from multibox.exporting.dense_nms import bounded, dense_nms
from multibox.exporting.graph import GraphBuilder
from multibox.exporting.ranking import NO_SCORE, only_best
from multibox.spec import ModelSpec, PostprocessSpec

DEFAULT_MAX_DETECTIONS = 300


def append_tail(model: onnx.ModelProto, spec: ModelSpec, level_sizes: Sequence[int], batch: int | str) -> None:
    """Replaces the outputs `dense_boxes` [n, p, 4] and `dense_scores` [n, p, c] of `model` by detections.

    New outputs: `boxes` [n, d, 4] fractions, `scores` [n, d] descending (0 where there is no detection) and `labels`
    int64 [n, d] (-1 where there is none). Raises `ExportError` for a rule that an exported file cannot follow.
    """
    rule = bounded(spec.postprocess) if spec.postprocess.iou_eps else spec.postprocess
    graph = GraphBuilder(model.graph)
    boxes, scores = _passing(graph, rule, sum(level_sizes))
    scores = graph.add("Transpose", scores, perm=[0, 2, 1])
    candidates = _candidates(graph, boxes, scores, rule, level_sizes, len(spec.labels.names))
    limit = rule.max_detections or DEFAULT_MAX_DETECTIONS
    compared = _nms_boxes(graph, boxes, rule, (spec.input.height, spec.input.width))
    if rule.iou_eps:
        kept = dense_nms(graph, compared, candidates, rule, sum(level_sizes))
    else:
        kept = graph.add(
            "NonMaxSuppression",
            compared,
            candidates,
            graph.constant([min(limit, rule.max_per_class or limit)]),
            graph.constant([_nms_iou(rule)], np.float32),
            graph.constant([rule.score_threshold], np.float32),
        )
    del model.graph.output[:]
    _best(graph, kept, boxes, scores, limit, batch)


def _passing(graph: GraphBuilder, rule: PostprocessSpec, priors: int) -> tuple[str, str]:
    """Boxes [n, k, 4] and scores [n, k, c] of the priors that pass in any class of any image, and of the first one, as
    runtimes err on empty tensors. All of them where the rule must know each prior's level.
    """
    if rule.topk_scope == "level":
        return "dense_boxes", "dense_scores"
    best = graph.add("ReduceMax", "dense_scores", graph.constant([0, 2]), keepdims=0)
    passing = graph.add("Greater", best, graph.constant(rule.score_threshold, np.float32))
    passing = graph.add("Or", passing, graph.constant([True] + [False] * (priors - 1), np.bool_))
    index = graph.add("Squeeze", graph.add("NonZero", passing), graph.constant([0]))
    return graph.add("Gather", "dense_boxes", index, axis=1), graph.add("Gather", "dense_scores", index, axis=1)


def _candidates(
    graph: GraphBuilder, boxes: str, scores: str, rule: PostprocessSpec, level_sizes: Sequence[int], classes: int
) -> str:
    """Scores [n, c, p] in which only what goes on to NMS is above the threshold.

    Empty boxes are taken out before the top-k of a class, but after that of a level or image, as torch does it.
    """
    first = rule.drop_empty and rule.topk_scope == "class"
    scores = _without_empty(graph, boxes, scores) if first else scores
    scores = _limit(graph, scores, rule, level_sizes, classes)
    return _without_empty(graph, boxes, scores) if rule.drop_empty and not first else scores


def _limit(graph: GraphBuilder, scores: str, rule: PostprocessSpec, level_sizes: Sequence[int], classes: int) -> str:
    """Scores [n, c, p] in which at most `rule.topk` per class, level or image are above the threshold."""
    k = rule.topk
    parts = list(level_sizes) if rule.topk_scope == "level" else [sum(level_sizes)]
    most = [part * (1 if rule.topk_scope == "class" else classes) for part in parts]
    if k is None or max(most) <= k:
        return scores
    passing = graph.add("Greater", scores, graph.constant(rule.score_threshold, np.float32))
    passing = graph.add("Cast", passing, to=TensorProto.FLOAT)
    per_prior = [2] if rule.topk_scope == "class" else [1, 2]
    counts = [
        graph.add("ReduceSum", part, graph.constant(per_prior), keepdims=0) for part in _split(graph, passing, parts)
    ]
    largest = [graph.add("ReduceMax", count, keepdims=0) for count in counts]
    too_many = graph.add("Greater", _max(graph, largest), graph.constant(k, np.float32))
    cut, same = graph.branch(), graph.branch()
    pieces = [
        _top_only(cut, piece, k, rule.topk_scope == "class") if size > k else piece
        for piece, size in zip(_split(cut, scores, parts), most, strict=True)
    ]
    cut.output(cut.add("Concat", *pieces, axis=2), None)
    same.output(same.add("Identity", scores), None)
    return graph.add("If", too_many, then_branch=cut.graph, else_branch=same.graph)


def _without_empty(graph: GraphBuilder, boxes: str, scores: str) -> str:
    """`scores` [n, c, p] with those of `boxes` [n, p, 4] without width or height taken out."""
    x1, y1, x2, y2 = graph.add_many("Split", boxes, outputs=4, axis=2, num_outputs=4)
    filled = graph.add("And", graph.add("Greater", x2, x1), graph.add("Greater", y2, y1))
    filled = graph.add("Transpose", filled, perm=[0, 2, 1])
    return graph.add("Where", filled, scores, graph.constant(NO_SCORE, np.float32))


def _split(graph: GraphBuilder, value: str, parts: Sequence[int]) -> list[str]:
    """`value` [n, c, p] cut along its priors."""
    if len(parts) == 1:
        return [value]
    return graph.add_many("Split", value, graph.constant(list(parts)), outputs=len(parts), axis=2)


def _max(graph: GraphBuilder, values: list[str]) -> str:
    """The largest of scalars."""
    return values[0] if len(values) == 1 else graph.add("Max", *values)


def _top_only(graph: GraphBuilder, scores: str, k: int, per_class: bool) -> str:
    """`scores` [n, c, p] with all but the `k` best of every class, or of all classes together, taken out."""
    if per_class:
        return only_best(graph, scores, k)
    only = only_best(graph, graph.add("Flatten", scores, axis=1), k)
    return graph.add("Reshape", only, graph.add("Shape", scores))


def _nms_boxes(graph: GraphBuilder, boxes: str, rule: PostprocessSpec, size: tuple[int, int]) -> str:
    """The boxes that NMS compares; under the legacy rule (plus one) in pixels with the far corner one pixel on."""
    if not rule.plus_one:
        return boxes
    height, width = size
    pixels = graph.add("Mul", boxes, graph.constant([width, height, width, height], np.float32))
    return graph.add("Add", pixels, graph.constant([0, 0, 1, 1], np.float32))


def _nms_iou(rule: PostprocessSpec) -> float:
    """The threshold by which an overlap equal to the rule's own is judged as the rule says.

    ONNX Runtime suppresses above a threshold, OpenVINO also at it. The next float32 up (or down, where the rule itself
    suppresses at equality) makes both judge equal overlaps, which whole-numbered boxes really have, in the same way.
    """
    toward = -np.inf if rule.iou_inclusive else np.inf
    return float(np.nextafter(np.float32(rule.iou), np.float32(toward)))


def _best(graph: GraphBuilder, kept: str, boxes: str, scores: str, limit: int, batch: int | str) -> None:
    """The `limit` best of the kept (image, class, prior) triples [k, 3] of every image, padded, as the graph's outputs.

    Every image looks at the triples of all images, those of others with a score below the padding's: `limit` padding
    columns behind them give TopK its fixed length.
    """
    flat_scores = graph.add("GatherND", scores, kept)
    image, label, prior = graph.add_many("Split", kept, outputs=3, axis=1, num_outputs=3)
    last = graph.constant([1])
    count = graph.add("Squeeze", graph.add("Shape", boxes, start=0, end=1), graph.constant([0]))
    every = graph.add("Range", graph.constant(0), count, graph.constant(1))
    own = graph.add("Equal", graph.add("Unsqueeze", every, last), graph.add("Squeeze", image, last))
    ranked = graph.add("Where", own, flat_scores, graph.constant(NO_SCORE, np.float32))
    ranked = only_best(graph, graph.add("Pad", ranked, graph.constant([0, 0, 0, limit])), limit)
    _, index = graph.add_many(
        "TopK", ranked, graph.constant([limit]), outputs=["scores", "post/best"], axis=1, largest=1, sorted=1
    )
    boxes = graph.add("GatherND", boxes, graph.add("Concat", image, prior, axis=1))
    boxes = graph.add("Pad", boxes, graph.constant([0, 0, limit, 0]))
    labels = graph.add("Pad", graph.add("Squeeze", label, last), graph.constant([0, limit]), graph.constant(-1))
    graph.add("Gather", boxes, index, output="boxes", axis=0)
    graph.add("Gather", labels, index, output="labels", axis=0)
    graph.output("boxes", [batch, limit, 4])
    graph.output("scores", [batch, limit])
    graph.output("labels", [batch, limit], TensorProto.INT64)
