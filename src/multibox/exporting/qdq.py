"""Writing rounding into a graph as pairs of QuantizeLinear and DequantizeLinear, which runtimes turn into integer work.

Both runtimes know the same form: activations uint8 with a zero point, weights int8 by output channel and symmetric,
the bias int32 by the product of both scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from multibox.exporting.wiring import drop_unread

_TOP = 127
_LARGEST = 2.0**30
"""Of a bias as integer: half of what int32 holds, so that sums stay within it."""


@dataclass(frozen=True)
class Scale:
    """uint8 codes of real numbers: `(code - zero) * step`."""

    step: float
    zero: int

    @classmethod
    def spanning(cls, lowest: float, highest: float) -> Scale:
        """The codes for numbers from `lowest` to `highest`; 0 is among them, and exact."""
        lowest, highest = min(lowest, 0.0), max(highest, 0.0)
        step = float(np.float32(highest - lowest) / np.float32(255)) or 1.0
        return cls(step, int(np.clip(round(-lowest / step), 0, 255)))


def weight_steps(weight: NDArray[np.float32], bias: NDArray[np.float32], input: Scale) -> NDArray[np.float32]:
    """The step of each output channel [out] of a convolution's weights: as small as weights and bias allow."""
    steps = np.abs(weight).max(axis=(1, 2, 3)) / _TOP
    steps = np.maximum(steps, np.abs(bias) / (input.step * _LARGEST))
    return np.where(steps > 0, steps, 1).astype(np.float32)


def weight_codes(weight: NDArray[np.float32], steps: NDArray[np.float32]) -> NDArray[np.int8]:
    """The weights [out, ...] in whole steps."""
    codes = np.rint(weight / steps[:, None, None, None])
    return np.asarray(np.clip(codes, -_TOP, _TOP), np.int8)


class QdqWriter:
    """Puts roundings into `graph`; nodes are collected, and put in order by `finish`."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._behind: dict[str, list[onnx.NodeProto]] = {}
        self._constants: list[onnx.NodeProto] = []
        self._renamed: dict[str, str] = {}

    def round_value(self, value: str, scale: Scale) -> None:
        """All readers of `value` get it by way of 8 bits."""
        step, zero = f"{value}/step", f"{value}/zero"
        self._keep(step, np.float32(scale.step))
        self._keep(zero, np.uint8(scale.zero))
        self._renamed[value] = f"{value}/rounded"
        self._behind[value] = [
            helper.make_node("QuantizeLinear", [value, step, zero], [f"{value}/uint8"], f"{value}/quantize"),
            helper.make_node(
                "DequantizeLinear", [f"{value}/uint8", step, zero], [f"{value}/rounded"], f"{value}/dequantize"
            ),
        ]

    def round_convolution(
        self, node: onnx.NodeProto, codes: NDArray[np.int8], steps: NDArray[np.float32], bias: NDArray[np.float32],
        input: Scale,
    ) -> None:  # fmt: skip
        """The convolution gets these weights, as int8 codes with a step per output channel, and this bias."""
        bias_steps = (steps.astype(np.float64) * input.step).astype(np.float32)
        bias_codes = np.rint(bias / bias_steps.astype(np.float64)).astype(np.int32)
        inputs = [
            node.input[0],
            self._constant(f"{node.name}/weight", codes, steps),
            self._constant(f"{node.name}/bias", bias_codes, bias_steps),
        ]
        del node.input[:]
        node.input.extend(inputs)

    def finish(self) -> None:
        """Writes the nodes behind the values that they round, and lets the others read what is rounded."""
        nodes = list(self._graph.node)
        ordered = [*self._constants]
        for value in (tensor.name for tensor in self._graph.input):
            ordered += self._behind.get(value, [])
        for node in nodes:
            for place, value in enumerate(node.input):
                node.input[place] = self._renamed.get(value, value)
            ordered.append(node)
            for value in node.output:
                ordered += self._behind.get(value, [])
        del self._graph.node[:]
        self._graph.node.extend(ordered)
        drop_unread(self._graph)

    def _constant(self, name: str, codes: NDArray[np.generic], steps: NDArray[np.float32]) -> str:
        """A constant [out, ...] stored as codes, with the node that makes numbers of them."""
        self._keep(f"{name}/codes", codes)
        self._keep(f"{name}/step", steps)
        self._keep(f"{name}/zero", np.zeros(len(steps), codes.dtype))
        inputs = [f"{name}/codes", f"{name}/step", f"{name}/zero"]
        self._constants.append(helper.make_node("DequantizeLinear", inputs, [name], f"{name}/dequantize", axis=0))
        return name

    def _keep(self, name: str, value: NDArray[np.generic] | np.generic) -> None:
        """A new constant of the graph."""
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
