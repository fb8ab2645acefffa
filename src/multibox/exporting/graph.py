"""Building ONNX nodes one after another, with constants and names taken care of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class GraphBuilder:
    """Appends nodes to `graph`; every value it makes is named `post/OP_NUMBER` and returned by that name."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self._count = 0

    def constant(self, value: int | float | Sequence[int] | Sequence[float], dtype: type[np.generic] = np.int64) -> str:
        """An initializer holding `value`."""
        name = self._name("constant")
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """A node with one output, whose name is returned."""
        return self.add_many(op, *inputs, outputs=[output or self._name(op)], **attributes)[0]

    def add_many(self, op: str, *inputs: str, outputs: list[str] | int, **attributes: Any) -> list[str]:
        """A node with several outputs (their names, or how many), whose names are returned."""
        names = outputs if isinstance(outputs, list) else [self._name(op) for _ in range(outputs)]
        self.graph.node.append(helper.make_node(op, list(inputs), names, name=self._name("node"), **attributes))
        return names

    def branch(self) -> GraphBuilder:
        """A builder of a subgraph (a branch of `If`, a body of `Loop`) that sees the values made so far."""
        self._count += 1
        inner = GraphBuilder(onnx.GraphProto(name=f"branch_{self._count}"))
        inner._count = self._count * 1000  # names stay unique over all branches
        return inner

    def input(self, name: str, shape: list[int | str], kind: int = TensorProto.FLOAT) -> None:
        """Declares the value `name` as an input of this graph."""
        self.graph.input.append(helper.make_tensor_value_info(name, kind, shape))

    def output(self, name: str, shape: list[int | str] | None, kind: int = TensorProto.FLOAT) -> None:
        """Declares the value `name` as an output of this graph."""
        self.graph.output.append(helper.make_tensor_value_info(name, kind, shape))

    def _name(self, what: str) -> str:
        self._count += 1
        return f"post/{what}_{self._count}"
