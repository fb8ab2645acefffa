"""An exported file without its post-processing: the network down to the boxes and scores of all priors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from multibox.errors import ModelError

if TYPE_CHECKING:
    import onnx

DENSE = ("dense_boxes", "dense_scores")
"""What an exported file hands to its NMS: [n, p, 4] and [n, p, c]."""


def write_bare(source: Path, target: Path) -> None:
    """Writes the part of the exported file `source` that ends in `DENSE`, with its description, to `target`.

    Raises `ModelError` where the `onnx` package is missing or the file has no such values.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise ModelError(
            "network and post-processing are timed apart with the package onnx; pip install onnx"
        ) from None
    model = onnx.load_model(str(source))
    _cut(model.graph, source)
    target.write_bytes(model.SerializeToString())


def _cut(graph: onnx.GraphProto, source: Path) -> None:
    """Leaves the nodes and constants that `DENSE` needs."""
    from onnx import TensorProto, helper

    makers = {name: node for node in graph.node for name in node.output}
    if any(name not in makers for name in DENSE):
        raise ModelError(f"{source}: has no values {' and '.join(DENSE)}, so its post-processing is not timed apart")
    wanted, open_ends = set[str](), list(DENSE)
    while open_ends:
        name = open_ends.pop()
        if name not in wanted:
            wanted.add(name)
            open_ends += makers[name].input if name in makers else ()
    nodes = [node for node in graph.node if wanted.intersection(node.output)]
    constants = [constant for constant in graph.initializer if constant.name in wanted]
    for field, kept in ((graph.node, nodes), (graph.initializer, constants)):
        del field[:]
        field.extend(kept)
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None, None]) for name in DENSE)
