"""Which operator feeds which in a TensorFlow Lite graph, past those that only move numbers or store them otherwise."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from multibox.errors import ModelError
from multibox.weights.importers.tflite_graph import Graph, Operator

_MOVERS = {"reshape", "squeeze", "quantize", "dequantize", "pack", "tile", "resize_nearest", "strided_slice"}
"""They repeat, cut or reorder numbers: between two convolutions, the upsampling of a pyramid."""
_COMPUTERS = {"conv", "depthwise", "add", "concatenation", "logistic", "softmax"}
CONVOLUTIONS = ("conv", "depthwise")


class Trace:
    """A graph, walked against the flow; operators go by their number in the file, which is an order of the flow too."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._makers = {value: number for number, each in enumerate(graph.operators) for value in each.outputs}

    def operator(self, number: int) -> Operator:
        """The operator of that number."""
        return self.graph.operators[number]

    def maker(self, value: int) -> int | None:
        """The number of the operator that computed the value's numbers; none where the graph is given them.

        Raises `ModelError` where an operator stands between that we do not know.
        """
        last = len(self.graph.operators)
        while value not in self.graph.inputs:
            number = self._makers.get(value)
            if number is None or number >= last:
                raise ModelError(f"nothing before it computes tensor '{self.graph.values[value].name}'")
            last = number
            kind = self.operator(number).kind
            if kind in _COMPUTERS:
                return number
            given = {each for each in self.operator(number).inputs if not self._is_constant(each)}
            if len(given) != 1 or not (kind in _MOVERS or self._doubles(number)):
                raise ModelError(f"an operator '{kind}' stands between its layers, which is not known")
            value = given.pop()
        return None

    def feeder(self, number: int) -> int | None:
        """What computed the first input of operator `number`."""
        found = self.maker(self.operator(number).inputs[0])
        if found is not None and found >= number:
            raise ModelError("its operators do not stand in the order in which they feed each other")
        return found

    def trunk(self, number: int) -> tuple[list[int], int]:
        """The convolutions up to and with operator `number` in the order of the file, and how many sums are among
        what feeds them. Raises `ModelError` where they do not begin at the graph's input.
        """
        found, waiting = set(), [number]
        while waiting:
            each = waiting.pop()
            if each in found:
                continue
            found.add(each)
            operator = self.operator(each)
            maps = operator.inputs[:1] if operator.kind in CONVOLUTIONS else operator.inputs
            feeders = [self.maker(value) for value in maps]
            waiting += [feeder for feeder in feeders if feeder is not None]
        convolutions = sorted(each for each in found if self.operator(each).kind in CONVOLUTIONS)
        return convolutions, sum(self.operator(each).kind == "add" for each in found)

    def shape(self, number: int) -> tuple[int, ...]:
        """The shape [n, h, w, c] of what operator `number` gives."""
        return self.graph.values[self.operator(number).outputs[0]].shape

    def weight(self, number: int) -> Float[np.ndarray, "out in kh kw"]:
        """The kernel of a convolution in torch's layout; the rows of a depthwise one are its channels."""
        kernel = self.constant(self.operator(number).inputs[1])
        axes = (3, 0, 1, 2) if self.operator(number).kind == "depthwise" else (0, 3, 1, 2)
        if kernel.ndim != len(axes):
            raise ModelError(f"a convolution's kernel has {kernel.ndim} dimensions")
        return np.ascontiguousarray(kernel.transpose(axes))

    def bias(self, number: int) -> Float[np.ndarray, " out"]:
        """The bias of a convolution."""
        return self.constant(self.operator(number).inputs[2])

    def constant(self, value: int) -> NDArray[np.float32]:
        """A constant as float32, also one that an operator turns into floats (weights of half precision)."""
        number = self._makers.get(value)
        if number is not None and self.operator(number).kind == "dequantize":
            value = self.operator(number).inputs[0]
        return self.graph.constant(value)

    def _is_constant(self, value: int) -> bool:
        return value < 0 or self.graph.values[value].constant is not None

    def _doubles(self, number: int) -> bool:
        """Whether operator `number` repeats a map by a product with ones, as old files do."""
        operator = self.operator(number)
        factors = [self.graph.constant(each) for each in operator.inputs if self._is_constant(each)]
        return operator.kind == "mul" and len(factors) == 1 and bool((factors[0] == 1).all())
