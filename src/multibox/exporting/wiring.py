"""Who makes and who reads each value of an ONNX graph, and what lies before and behind its convolutions."""

from __future__ import annotations

import onnx


class Wiring:
    """The nodes of a graph (without subgraphs), which are in the order of their computation, by the values they touch.

    Built once; it does not follow later changes of the graph.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes = list(graph.node)
        self.maker = {value: node for node in graph.node for value in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for value in node.input:
                self.readers.setdefault(value, []).append(node)
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.outputs = {output.name for output in graph.output}

    def only_reader(self, value: str) -> onnx.NodeProto | None:
        """The node that reads `value`, where it is the only one and the graph itself does not give the value out."""
        readers = self.readers.get(value, [])
        return readers[0] if len(readers) == 1 and value not in self.outputs else None

    def convolutions(self) -> list[onnx.NodeProto]:
        """Those whose weights are constants."""
        return [node for node in self.nodes if node.op_type == "Conv" and node.input[1] in self.weights]

    def fed_by_convolution(self) -> set[str]:
        """The values that some convolution has a part in."""
        found: set[str] = set()
        for node in self.nodes:
            if node.op_type == "Conv" or found.intersection(node.input):
                found.update(node.output)
        return found

    def feeding_convolution(self) -> set[str]:
        """The values, constants among them, that have a part in the input of some convolution."""
        found: set[str] = set()
        for node in reversed(self.nodes):
            if node.op_type == "Conv":
                found.add(node.input[0])
            if found.intersection(node.output):
                found.update(node.input)
        return found


def drop_unread(graph: onnx.GraphProto) -> None:
    """Constants that no node reads any more go."""
    read = {value for node in graph.node for value in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
