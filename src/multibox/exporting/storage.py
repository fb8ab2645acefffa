"""Smaller files: convolution weights stored as int8 or fp16 with a scale per output channel, and computed with in fp32.

Runtimes fold the unpacking away when they load the file, so the speed is that of fp32. Weights are rounded in torch
before the export (`round_weights`), and packed in the file after it (`pack_weights`). Batch norms that the export folds
into a convolution multiply whole output channels, so that they change the scales and no code: both roundings are one.
"""

from __future__ import annotations

import copy

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from multibox.exporting.order import Storage
from multibox.network.model import SSD

_SMALLEST = 1024
"""Weights with fewer numbers than this stay fp32: nothing is gained there."""


def round_weights(model: SSD, storage: Storage) -> SSD:
    """A copy of `model` whose convolution weights are those that `storage` can hold."""
    rounded = copy.deepcopy(model)
    if storage != "fp32":
        with torch.no_grad():
            for weight in rounded.parameters():
                if weight.ndim == 4 and weight.numel() >= _SMALLEST:
                    codes, scale = _encode(weight.detach().cpu().numpy(), storage)
                    weight.copy_(torch.from_numpy(codes.astype(np.float32) * scale))
    return rounded


def pack_weights(model: onnx.ModelProto, storage: Storage) -> None:
    """Replaces the constant weights of convolutions in `model` by packed ones and the nodes that unpack them."""
    if storage == "fp32":
        return
    graph = model.graph
    wanted = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    nodes: list[onnx.NodeProto] = []
    for weight in list(graph.initializer):
        if weight.name in wanted and np.prod(weight.dims) >= _SMALLEST:
            codes, scale = _encode(numpy_helper.to_array(weight), storage)
            graph.initializer.remove(weight)
            graph.initializer.append(numpy_helper.from_array(codes, f"{weight.name}/{storage}"))
            graph.initializer.append(numpy_helper.from_array(scale, f"{weight.name}/scale"))
            nodes += _unpack(weight.name, storage)
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes + rest)


def _encode(weight: NDArray[np.float32], storage: Storage) -> tuple[NDArray[np.generic], NDArray[np.float32]]:
    """Codes of the shape [out, ...] of `weight`, and a scale per output channel [out, 1, 1, 1]: codes * scale = weight.

    The largest number of a channel is coded exactly, as 127 or 1, which is why encoding twice is encoding once.
    """
    top = 127 if storage == "int8" else 1
    largest = np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
    scale = np.where(largest > 0, largest / np.float32(top), 1).astype(np.float32)
    codes = weight / scale
    return np.rint(codes).astype(np.int8) if storage == "int8" else codes.astype(np.float16), scale


def _unpack(name: str, storage: Storage) -> list[onnx.NodeProto]:
    """The nodes that make the weight `name` of its codes.

    Not DequantizeLinear, nor a direct cast of int8 to float: OpenVINO takes both for a model quantised as a whole, and
    then computes it less exactly. By way of int32 its constant folding comes first.
    """
    packed, between, unscaled = f"{name}/{storage}", f"{name}/int32", f"{name}/unscaled"
    nodes = [helper.make_node("Cast", [packed], [between], to=TensorProto.INT32)] if storage == "int8" else []
    nodes.append(helper.make_node("Cast", [between if nodes else packed], [unscaled], to=TensorProto.FLOAT))
    return [*nodes, helper.make_node("Mul", [unscaled, f"{name}/scale"], [name])]
