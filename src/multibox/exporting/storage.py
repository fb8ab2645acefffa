"""Smaller files: convolution weights stored as int8 per output channel, or as fp16, and computed with in fp32.

Runtimes fold the unpacking away when they load the file, so the speed is that of fp32. Weights are rounded in torch
before the export (`round_weights`), and packed in the file after it (`pack_weights`). Batch norms that the export folds
into a convolution multiply whole output channels, which leaves int8 codes as they are: both roundings are one.
"""

from __future__ import annotations

import copy
from typing import Literal

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from multibox.network.model import SSD

Storage = Literal["fp32", "fp16", "int8"]
_SMALLEST = 1024
"""Weights with fewer numbers than this stay fp32: nothing is gained there."""


def round_weights(model: SSD, storage: Storage) -> SSD:
    """A copy of `model` whose convolution weights are those that `storage` can hold; `model` itself for fp32."""
    if storage == "fp32":
        return model
    rounded = copy.deepcopy(model)
    with torch.no_grad():
        for weight in rounded.parameters():
            if weight.ndim == 4 and weight.numel() >= _SMALLEST:
                weight.copy_(_int8(weight) if storage == "int8" else weight.half().float())
    return rounded


def _int8(weight: Tensor) -> Tensor:
    """`weight` [out, ...] rounded to 255 symmetric steps per output channel."""
    scale = weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127
    return torch.where(scale > 0, (weight / scale).round() * scale, weight)


def pack_weights(model: onnx.ModelProto, storage: Storage) -> None:
    """Replaces the constant weights of convolutions in `model` by packed ones and a node that unpacks them."""
    if storage == "fp32":
        return
    graph = model.graph
    wanted = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    nodes: list[onnx.NodeProto] = []
    for weight in list(graph.initializer):
        if weight.name in wanted and np.prod(weight.dims) >= _SMALLEST:
            array = numpy_helper.to_array(weight)
            graph.initializer.remove(weight)
            nodes.append(_pack_int8(graph, weight.name, array) if storage == "int8" else _pack_fp16(graph, weight.name, array))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes + rest)


def _pack_int8(graph: onnx.GraphProto, name: str, weight: np.ndarray) -> onnx.NodeProto:
    """int8 codes and a scale per output channel; a channel of zeros has scale 1."""
    scale = np.abs(weight).max(axis=(1, 2, 3)) / np.float32(127)
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    codes = np.rint(weight / scale[:, None, None, None]).astype(np.int8)
    graph.initializer.append(numpy_helper.from_array(codes, f"{name}/int8"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}/scale"))
    return helper.make_node("DequantizeLinear", [f"{name}/int8", f"{name}/scale"], [name], name=f"{name}/unpack", axis=0)


def _pack_fp16(graph: onnx.GraphProto, name: str, weight: np.ndarray) -> onnx.NodeProto:
    """The weight as fp16 and a cast."""
    graph.initializer.append(numpy_helper.from_array(weight.astype(np.float16), f"{name}/fp16"))
    return helper.make_node("Cast", [f"{name}/fp16"], [name], name=f"{name}/unpack", to=onnx.TensorProto.FLOAT)
