"""A model -> one self-describing ONNX file with normalisation inside, decoding and NMS too where they are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper

from multibox.errors import ExportError
from multibox.exporting.job import Job, Writer
from multibox.exporting.quantize import quantize_onnx
from multibox.exporting.runtimes import need_a_runtime, open_everywhere
from multibox.exporting.served import OUTPUTS, example, free_batch, quiet, served
from multibox.exporting.storage import pack_weights
from multibox.exporting.tail import append_tail
from multibox.prediction.engines.description import KEY
from multibox.prediction.engines.exported import ExportedEngine
from multibox.prediction.engines.onnx_file import parse_onnx, read_onnx

_DENSE: dict[str, Sequence[int | str | None]] = {"dense_boxes": [None, None, 4], "dense_scores": [None, None, None]}


def network_graph(job: Job) -> onnx.ModelProto:
    """The way from pixels to the outputs that `served.OUTPUTS` names, as ONNX, without NMS; its convolutions in
    8 bits where the order has images to calibrate with.
    """
    with quiet(), torch.inference_mode():
        program = torch.onnx.export(
            served(job),
            (example(job),),
            dynamo=True,
            input_names=["images"],
            output_names=list(OUTPUTS[job.order.head]),
            dynamic_shapes=free_batch(job),
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ExportError(f"{job.description.spec.name}: torch gave no ONNX program")
    graph = program.model_proto
    if job.order.calibration is None:
        return graph
    return quantize_onnx(graph, job.truth, job.order.calibration, progress=job.progress)


def whole_graph(job: Job) -> onnx.ModelProto:
    """The whole file, stored and described as the order says."""
    graph = network_graph(job)
    if job.order.head == "nms":
        append_tail(graph, job.description.spec, job.description.level_sizes, job.order.batch or "n")
    pack_weights(graph, job.order.stored)
    _describe(graph, job)
    return graph


def _write(job: Job, path: Path) -> None:
    path.write_bytes(whole_graph(job).SerializeToString())


def _open(path: Path) -> list[ExportedEngine]:
    """On OpenVINO and ONNX Runtime, as far as they are installed."""
    file = read_onnx(path)
    return open_everywhere(parse_onnx(_with_dense_outputs(file.data), path) if file.head == "nms" else file)


def _with_dense_outputs(data: bytes) -> bytes:
    """The same file that also gives what NMS is fed with."""
    graph = onnx.ModelProto.FromString(data)
    for name, shape in _DENSE.items():
        graph.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    serialized: bytes = graph.SerializeToString()
    return serialized


def _describe(graph: onnx.ModelProto, job: Job) -> None:
    """The description as metadata, and none of the exporter's notes about source files of this machine."""
    del graph.metadata_props[:]
    helper.set_model_props(graph, {KEY: job.description.to_text()})
    graph.producer_name = "multibox"
    graph.doc_string = job.description.spec.description
    for part in (graph.graph, *graph.graph.node, *graph.graph.initializer, *graph.graph.value_info):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.graph.value_info[:]


ONNX = Writer(ready=need_a_runtime, write=_write, open=_open)
