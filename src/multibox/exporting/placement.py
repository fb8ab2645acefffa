"""Which values of a graph are rounded to 8 bits: those between its convolutions, nothing before the first or behind the
last ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import numpy_helper

from multibox.exporting.wiring import Wiring

_EXACT = {"MaxPool", "Resize"}
"""Give out numbers that they were given, so that their result has the scale of their input."""
_JOINING = {"Add", "Mul", "Concat", "AveragePool", "HardSwish"}
"""Runtimes compute these with 8 bits too, or take them into the convolution before."""
_BOUNDS = {"Relu", "Clip"}


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The convolutions that compute with 8 bits, and the values that are rounded, each with the one whose scale it has.

    `bounds` are the ReLUs and clips that the rounding behind them makes needless, by the value they give.
    """

    convolutions: tuple[onnx.NodeProto, ...]
    values: dict[str, str]
    bounds: dict[str, onnx.NodeProto]


def place(wiring: Wiring) -> Placement:
    """Where to round.

    What the last convolutions give (logits and offsets) stays float, and so do decoding and scores behind it.
    """
    between = wiring.fed_by_convolution() & wiring.feeding_convolution()
    convolutions = wiring.convolutions()
    own = {id(node) for node in convolutions}
    values: dict[str, str] = {}
    bounds: dict[str, onnx.NodeProto] = {}
    for node in wiring.nodes:
        if id(node) not in own and node.op_type not in _JOINING | _EXACT:
            continue
        output = str(node.output[0]) if node.op_type in _EXACT else _result(wiring, node)
        touched = [node.input[0]] if id(node) in own else [value for value in node.input if value in between]
        for value in touched:
            values.setdefault(value, value)
        if output in between:
            values.setdefault(output, values[touched[0]] if node.op_type in _EXACT and touched else output)
            if output != node.output[0]:
                bounds[output] = wiring.maker[output]
    return Placement(convolutions=tuple(convolutions), values=values, bounds=bounds)


def _result(wiring: Wiring, node: onnx.NodeProto) -> str:
    """What a node gives, behind the ReLU or clip at 0 that alone reads it."""
    reader = wiring.only_reader(node.output[0])
    if reader is not None and reader.op_type in _BOUNDS and _from_zero(wiring, reader):
        return str(reader.output[0])
    return str(node.output[0])


def _from_zero(wiring: Wiring, bound: onnx.NodeProto) -> bool:
    """Whether the lowest that a ReLU or clip lets through is 0, which is the lowest code as well."""
    if bound.op_type == "Relu":
        return True
    lowest = wiring.weights.get(bound.input[1]) if len(bound.input) > 1 else None
    return lowest is not None and float(numpy_helper.to_array(lowest)) == 0.0
