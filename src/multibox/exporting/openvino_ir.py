"""A model -> OpenVINO's own pair of files, .xml and .bin, made of our ONNX graph; self-describing by its `rt_info`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from multibox.errors import ExportError
from multibox.exporting.job import Job, Writer
from multibox.exporting.onnx_writer import whole_graph
from multibox.exporting.runtimes import need
from multibox.exporting.served import OUTPUTS
from multibox.prediction.engines.base import short_reason
from multibox.prediction.engines.description import KEY
from multibox.prediction.engines.exported import ExportedEngine
from multibox.prediction.engines.ir_file import read_ir
from multibox.prediction.engines.openvino_core import import_openvino, openvino_core
from multibox.prediction.engines.openvino_engine import OpenVinoEngine


def _ready() -> None:
    need("openvino", "openvino", "pip install 'multibox[openvino]'")


def _write(job: Job, path: Path) -> None:
    """Weights are stored as the order says (`Order.stored`); the runtime's own compression would also round priors."""
    graph = whole_graph(job).SerializeToString()
    try:
        model = openvino_core().read_model(graph, b"")
    except RuntimeError as error:
        raise ExportError(f"{path.name}: OpenVINO cannot read the network ({short_reason(error)})") from None
    model.set_rt_info(job.description.to_text(), [KEY])
    save_ir(model, path)


def save_ir(model: Any, path: Path) -> None:
    """Writes OpenVINO's model as the pair of files. Raises `ExportError` where the disk does not take them whole."""
    try:
        import_openvino().save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise ExportError(f"{path.name}: OpenVINO cannot write it ({short_reason(error)})") from None


def _open(path: Path) -> list[ExportedEngine]:
    file = read_ir(path)
    watched = OUTPUTS["nms"] if file.head == "nms" else ()
    return [OpenVinoEngine(file._replace(watched=watched))]


OPENVINO = Writer(ready=_ready, write=_write, open=_open)
