"""Batch norms that an export leaves behind convolutions with shared weights become part of copies of those weights."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from multibox.exporting.wiring import Wiring, drop_unread

_EPSILON = 1e-5
"""ONNX's own, where a node states none."""


def fold_norms(graph: onnx.GraphProto) -> int:
    """Folds each batch norm that is the only reader of a convolution into it; gives how many there were.

    Without that an integer convolution would round its result before the norm, which spreads channels apart.
    """
    wiring, folded = Wiring(graph), 0
    for conv in wiring.convolutions():
        norm = wiring.only_reader(conv.output[0])
        if norm is not None and norm.op_type == "BatchNormalization":
            _fold(graph, wiring, conv, norm)
            graph.node.remove(norm)
            folded += 1
    drop_unread(graph)
    return folded


def _fold(graph: onnx.GraphProto, wiring: Wiring, conv: onnx.NodeProto, norm: onnx.NodeProto) -> None:
    """The convolution gets weights and a bias of its own."""
    gain, shift, mean, variance = (_array(wiring, name) for name in norm.input[1:5])
    epsilon = next((item.f for item in norm.attribute if item.name == "epsilon"), _EPSILON)
    scale = gain / np.sqrt(variance + np.float32(epsilon))
    bias = _array(wiring, conv.input[2]) if len(conv.input) > 2 and conv.input[2] else np.zeros_like(scale)
    weight = _array(wiring, conv.input[1]) * scale[:, None, None, None]
    names = f"{norm.name}/weight", f"{norm.name}/bias"
    graph.initializer.append(numpy_helper.from_array(weight, names[0]))
    graph.initializer.append(numpy_helper.from_array((bias - mean) * scale + shift, names[1]))
    inputs = [conv.input[0], *names]
    del conv.input[:]
    conv.input.extend(inputs)
    conv.output[0] = norm.output[0]


def _array(wiring: Wiring, name: str) -> NDArray[np.float32]:
    """A constant as float32."""
    return np.asarray(numpy_helper.to_array(wiring.weights[name]), np.float32)
