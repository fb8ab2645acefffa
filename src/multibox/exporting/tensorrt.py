"""A model -> a TensorRT engine (.plan) for the GPU that is here, built from our ONNX graph; NMS on the host.

Networks are strongly typed (the only kind from TensorRT 11 on): precisions are those of the graph.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from multibox.errors import ExportError
from multibox.exporting.job import Job, Writer
from multibox.exporting.onnx_writer import network_graph
from multibox.exporting.runtimes import need
from multibox.prediction.engines.exported import ExportedEngine
from multibox.prediction.engines.tensorrt_engine import TensorRtEngine, description_of


def _ready() -> None:
    """TensorRT, and a GPU, since an engine is for the one that it is built on."""
    import torch

    need("tensorrt", "tensorrt", "pip install tensorrt")
    if not torch.cuda.is_available():
        raise ExportError("tensorrt files are built on the GPU that they are for, and torch sees none here")


def _write(job: Job, path: Path) -> None:
    """The description lies beside the engine, which holds nothing but what TensorRT puts there."""
    graph = network_graph(job)
    _cast_pixels(graph.graph)
    path.write_bytes(_build(graph.SerializeToString(), job.description.spec.name))
    description_of(path).write_text(job.description.to_text(), encoding="utf-8")


def _cast_pixels(graph: onnx.GraphProto) -> None:
    """Makes the pixels float first of all: TensorRT takes uint8 as an input, but computes nothing with it."""
    for node in graph.node:
        node.input[:] = ["images/float" if name == "images" else name for name in node.input]
    graph.node.insert(0, helper.make_node("Cast", ["images"], ["images/float"], to=TensorProto.FLOAT))


def _build(data: bytes, name: str) -> bytes:
    """The engine of an ONNX file. Raises `ExportError` with TensorRT's reason."""
    import tensorrt

    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(data):
        reason = parser.get_error(0).desc() if parser.num_errors else "no reason given"
        raise ExportError(f"{name}: TensorRT cannot read the network ({reason})")
    config = builder.create_builder_config()
    config.clear_flag(tensorrt.BuilderFlag.TF32)  # float32 with the digits of float16: too far from torch
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ExportError(f"{name}: TensorRT cannot build an engine of the network; its reason is above")
    return bytes(engine)


def _open(path: Path) -> list[ExportedEngine]:
    return [TensorRtEngine(path)]


TENSORRT = Writer(ready=_ready, write=_write, open=_open)
