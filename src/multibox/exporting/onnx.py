"""A model -> one self-describing ONNX file with normalisation, decoding and NMS inside, checked against torch."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper

from multibox.errors import ExportError
from multibox.exporting.check import check_export
from multibox.exporting.parity import Parity
from multibox.exporting.storage import Storage, pack_weights, round_weights
from multibox.exporting.tail import append_tail
from multibox.network.inference import Inference
from multibox.network.model import SSD
from multibox.sheet import to_json

METADATA_KEY = "multibox"
METADATA_VERSION = 1


def export_onnx(
    model: SSD,
    path: str | Path,
    *,
    metrics: Mapping[str, Any] | None = None,
    weights: Storage = "fp32",
    batch: int | None = None,
    images: Sequence[np.ndarray] | None = None,
) -> Parity:
    """Writes `model` to `path` and returns how well the file agrees with torch, measured on real images.

    The file takes `images` uint8 [n, h, w, 3] RGB at network size and gives `boxes` float32 [n, d, 4] as fractions of
    the input, `scores` float32 [n, d] descending (0: no detection) and `labels` int64 [n, d] (-1: none). n is free
    unless `batch` fixes it. `weights` is how convolution weights are stored; torch is compared with weights rounded in
    the same way. `images` for the check: any size, uint8 RGB; a photograph and pieces of it where not given.

    Raises `ExportError` where the file cannot be written or disagrees; then nothing is left at `path` that was not
    there before.
    """
    path = Path(path)
    if batch is not None and batch < 1:
        raise ExportError(f"{path}: batch is {batch}; it must be 1 or more")
    inference = Inference(round_weights(model, weights).eval().cpu()).eval()
    with _temporary(path) as temporary:  # first, as an export takes many seconds
        graph = make_graph(inference, batch)
        pack_weights(graph, weights)
        _describe(graph, model, metrics)
        parity = check_export(inference, graph, images)
        if not parity.agrees:
            raise ExportError(f"{path}: the exported file does not agree with torch ({parity}); it was not written")
        temporary.write_bytes(graph.SerializeToString())
        temporary.replace(path)
    return parity


def make_graph(inference: Inference, batch: int | None) -> onnx.ModelProto:
    """The whole way from pixels to detections as ONNX; `batch` None: any number of images."""
    spec = inference.model.spec
    example = torch.zeros(batch or 2, spec.input.height, spec.input.width, 3, dtype=torch.uint8)
    dynamic = None if batch else ({0: torch.export.Dim("n", min=1, max=4096)},)
    with _quiet(), torch.inference_mode():
        program = torch.onnx.export(
            inference,
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=["dense_boxes", "dense_scores"],
            dynamic_shapes=dynamic,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ExportError(f"{spec.name}: torch gave no ONNX program")
    graph = program.model_proto
    append_tail(graph, spec, inference.model.level_sizes, batch or "n")
    return graph


def _describe(graph: onnx.ModelProto, model: SSD, metrics: Mapping[str, Any] | None) -> None:
    """The spec as metadata, and none of the exporter's notes about source files of this machine."""
    described = {"version": METADATA_VERSION, "spec": json.loads(to_json(model.spec)), "metrics": dict(metrics or {})}
    del graph.metadata_props[:]
    helper.set_model_props(graph, {METADATA_KEY: json.dumps(described)})
    graph.producer_name = "multibox"
    graph.doc_string = model.spec.description
    for part in (graph.graph, *graph.graph.node, *graph.graph.initializer, *graph.graph.value_info):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.graph.value_info[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's own progress and warnings say nothing that a user can act on."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A file beside `path` that is gone afterwards, whatever happens; `ExportError` where the folder is unwritable."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error.strerror or error})") from None
    try:
        yield temporary
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        temporary.unlink(missing_ok=True)
