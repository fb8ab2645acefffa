"""A real exported file without a trained network: four quarters of the picture, each as bright as its colour says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multibox.sheet import to_json
from multibox.spec import ModelSpec
from multibox.zoo import load_spec

NAMES = ("red", "green", "blue")


def quarters_spec() -> ModelSpec:
    spec = load_spec("ssdlite320_mobilenet_v3_large").with_names(NAMES)
    rule = replace(spec.postprocess, score_threshold=0.2, topk=3, max_detections=6)
    return replace(spec, postprocess=rule)


def write_quarters(path: Path, batch: int | None = None) -> Path:
    """Scores are the mean brightness of each colour in each quarter of 320x320 pixels; boxes are the quarters."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("torch")
    from onnx import TensorProto, helper, numpy_helper

    from multibox.exporting.tail import append_tail

    spec, n = quarters_spec(), batch or "n"
    boxes = [[x / 2, y / 2, (x + 1) / 2, (y + 1) / 2] for y in (0, 1) for x in (0, 1)]
    constants = {
        "quarters": np.array([boxes], np.float32),
        "full": np.float32(255),
        "cells": np.array([0, 3, 4]),
        "axes": np.array([1, 2]),
    }
    nodes = [
        helper.make_node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "full"], ["unit"]),
        helper.make_node("AveragePool", ["unit"], ["means"], kernel_shape=[160, 160], strides=[160, 160]),
        helper.make_node("Reshape", ["means", "cells"], ["by_colour"]),
        helper.make_node("Transpose", ["by_colour"], ["dense_scores"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["dense_scores", "axes"], ["any"], keepdims=1),
        helper.make_node("Sub", ["any", "any"], ["zero"]),
        helper.make_node("Add", ["zero", "quarters"], ["dense_boxes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "quarters",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [n, 320, 320, 3])],
        [],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    append_tail(model, spec, [4], n)
    helper.set_model_props(model, {"multibox": json.dumps({"version": 1, "spec": json.loads(to_json(spec))})})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def quarters(tmp_path_factory) -> Path:
    return write_quarters(tmp_path_factory.mktemp("exported") / "quarters.onnx")


@pytest.fixture(scope="session")
def quarters_of_three(tmp_path_factory) -> Path:
    return write_quarters(tmp_path_factory.mktemp("exported") / "three.onnx", batch=3)
