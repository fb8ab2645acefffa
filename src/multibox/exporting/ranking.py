"""The best of many scores as ONNX nodes, the same ones on every runtime."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from multibox.exporting.graph import GraphBuilder

NO_SCORE = -1.0
"""In place of the scores that are taken out."""


def only_best(graph: GraphBuilder, scores: str, k: int) -> str:
    """`scores`, more than `k` in a row, with all but the `k` best of each row taken out; of equal ones the first stay.

    TopK gives the value of the last one alone: OpenVINO's leaves open which of equal scores it takes.
    """
    along = graph.constant([-1])
    best, _ = graph.add_many("TopK", scores, graph.constant([k]), outputs=2, axis=-1, largest=1, sorted=1)
    last = graph.add("ReduceMin", best, along, keepdims=1)
    above, equal = graph.add("Greater", scores, last), graph.add("Equal", scores, last)
    # counted in float32, as OpenVINO errs on integers here
    before = graph.add("ReduceSum", graph.add("Cast", above, to=TensorProto.FLOAT), along, keepdims=1)
    turn = graph.add("CumSum", graph.add("Cast", equal, to=TensorProto.FLOAT), graph.constant(-1))
    within = graph.add("LessOrEqual", graph.add("Add", turn, before), graph.constant(float(k), np.float32))
    chosen = graph.add("Or", above, graph.add("And", equal, within))
    return graph.add("Where", chosen, scores, graph.constant(NO_SCORE, np.float32))
