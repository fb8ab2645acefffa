"""NMS whose IoU has an epsilon in its denominator, as ONNX nodes; ONNX's own operator has no such number.

The candidates of a class are compared each with each, and the greedy rule is solved as a fixed point: a box stays
unless a better one that stays overlaps it too much. Every round settles one more link of each chain of removals.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import TensorProto

from multibox.errors import ExportError
from multibox.exporting.graph import GraphBuilder
from multibox.exporting.ranking import NO_SCORE, only_best
from multibox.spec import PostprocessSpec

MOST_CANDIDATES = 1000
"""As many of the best of a class are compared where the rule has no top-k; a larger top-k is refused."""


def bounded(rule: PostprocessSpec) -> PostprocessSpec:
    """The rule with a top-k that the comparison of all pairs can bear. Raises `ExportError` where it asks for more."""
    if (rule.topk or 0) > MOST_CANDIDATES or (rule.topk is not None and rule.topk_scope == "level"):
        raise ExportError(
            f"with postprocess.iou_eps an exported file compares at most {MOST_CANDIDATES} boxes of a class; "
            "set a smaller postprocess.topk per class, or iou_eps to 0"
        )
    return rule if rule.topk is not None else replace(rule, topk=MOST_CANDIDATES, topk_scope="class")


def dense_nms(graph: GraphBuilder, boxes: str, scores: str, rule: PostprocessSpec, priors: int) -> str:
    """What NMS keeps of the `boxes` [n, priors, 4] by their `scores` [n, c, priors], of which those above the threshold
    are within the top-k of a `bounded` rule: (image, class, prior) [k, 3], in rising order.
    """
    best, prior = graph.add_many("TopK", scores, _longest(graph, scores, rule), outputs=2, axis=2, largest=1, sorted=1)
    found = graph.add("Greater", best, graph.constant(rule.score_threshold, np.float32))
    near = _overlap(graph, graph.add("GatherND", boxes, _column(graph, prior), batch_dims=1), rule)
    removes = graph.add("And", near, _better(graph, _column(graph, best), _column(graph, prior)))
    staying = graph.add("Where", _fixed_point(graph, removes, found), best, graph.constant(NO_SCORE, np.float32))
    none = graph.add("Expand", graph.constant(NO_SCORE, np.float32), graph.add("Shape", scores))
    kept = graph.add("ScatterElements", none, prior, staying, axis=2)
    if rule.max_per_class is not None and rule.max_per_class < priors:
        kept = only_best(graph, kept, rule.max_per_class)
    above = graph.add("Greater", kept, graph.constant(rule.score_threshold, np.float32))
    return graph.add("Transpose", graph.add("NonZero", above), perm=[1, 0])


def _longest(graph: GraphBuilder, scores: str, rule: PostprocessSpec) -> str:
    """How many candidates [1] the class with most of them has, at least one, so that no tensor is empty."""
    passing = graph.add("Greater", scores, graph.constant(rule.score_threshold, np.float32))
    counts = graph.add("ReduceSum", graph.add("Cast", passing, to=TensorProto.FLOAT), graph.constant([2]), keepdims=0)
    largest = graph.add("Max", graph.add("ReduceMax", counts, keepdims=0), graph.constant(1.0, np.float32))
    return graph.add("Reshape", graph.add("Cast", largest, to=TensorProto.INT64), graph.constant([1]))


def _column(graph: GraphBuilder, value: str) -> str:
    """[n, c, k] -> [n, c, k, 1]."""
    return graph.add("Unsqueeze", value, graph.constant([3]))


def _row(graph: GraphBuilder, column: str) -> str:
    """[n, c, k, 1] -> [n, c, 1, k]: beside its column it makes all pairs (i, j)."""
    return graph.add("Transpose", column, perm=[0, 1, 3, 2])


def _better(graph: GraphBuilder, score: str, prior: str) -> str:
    """Whether candidate j comes before candidate i, of equal scores the one of the lower prior: [n, c, i, j].

    Told by the values, not by their place: OpenVINO's TopK leaves equal scores in any order.
    """
    scores, priors = _row(graph, score), _row(graph, prior)
    tied = graph.add("And", graph.add("Equal", scores, score), graph.add("Less", priors, prior))
    return graph.add("Or", graph.add("Greater", scores, score), tied)


def _overlap(graph: GraphBuilder, boxes: str, rule: PostprocessSpec) -> str:
    """Whether `boxes` [n, c, k, 4] overlap by more than the rule allows: [n, c, i, j]."""
    corners = graph.add_many("Split", boxes, outputs=4, axis=3, num_outputs=4)
    x1, y1, x2, y2 = ((corner, _row(graph, corner)) for corner in corners)

    def shared(low: tuple[str, str], high: tuple[str, str]) -> str:
        return graph.add("Relu", graph.add("Sub", graph.add("Min", *high), graph.add("Max", *low)))

    area = graph.add("Mul", graph.add("Sub", x2[0], x1[0]), graph.add("Sub", y2[0], y1[0]))
    inter = graph.add("Mul", shared(x1, x2), shared(y1, y2))
    union = graph.add("Sub", graph.add("Add", area, _row(graph, area)), inter)
    iou = graph.add("Div", inter, graph.add("Add", union, graph.constant(rule.iou_eps, np.float32)))
    return graph.add("GreaterOrEqual" if rule.iou_inclusive else "Greater", iou, graph.constant(rule.iou, np.float32))


def _fixed_point(graph: GraphBuilder, removes: str, found: str) -> str:
    """Which of the candidates `found` [n, c, k] stay, where j `removes` i [n, c, i, j] if it stays itself."""
    edges = graph.add("Cast", removes, to=TensorProto.FLOAT)
    start = graph.add("Cast", _column(graph, found), to=TensorProto.FLOAT)
    turn = graph.branch()
    turn.input("post/turn", [], TensorProto.INT64)
    turn.input("post/changed", [], TensorProto.BOOL)
    turn.input("post/staying", ["n", "c", "k", 1])
    count = turn.add("MatMul", edges, "post/staying")
    after = turn.add("Cast", turn.add("Less", count, turn.constant(0.5, np.float32)), to=TensorProto.FLOAT)
    change = turn.add("ReduceMax", turn.add("Abs", turn.add("Sub", after, "post/staying")), keepdims=0)
    turn.output(turn.add("Greater", change, turn.constant(0.5, np.float32)), [], TensorProto.BOOL)
    turn.output(after, ["n", "c", "k", 1])
    rounds = graph.constant(MOST_CANDIDATES)  # a chain of removals has fewer links than there are candidates
    staying = graph.add("Loop", rounds, graph.constant(True, np.bool_), start, body=turn.graph)
    staying = graph.add("Cast", graph.add("Squeeze", staying, graph.constant([3])), to=TensorProto.BOOL)
    return graph.add("And", staying, found)
