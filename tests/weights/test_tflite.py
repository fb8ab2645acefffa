"""TensorFlow's .tflite detectors: the imported network computes what the file's own operators compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.weights.importers import tflite
from multibox.weights.importers.flatbuffer import read_flex
from multibox.weights.importers.tflite_graph import Graph, Operator, read_graph
from multibox.zoo import load_spec

_FILES = {
    "tf1_ssd_mobilenet_v1_075_quant_coco.tflite": tflite.MOBILENET_V1,
    "tf2_ssd_mobilenet_v2_fpnlite_320_coco.tflite": tflite.FPNLITE,
}
_PRIOR_ERROR = 1e-6
"""Rounding of float32; the older file's rounding to multiples is in its sheet."""


def _same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's 'same' padding of [n, c, h, w]."""
    pads: list[int] = []
    for side in (x.shape[3], x.shape[2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def _convolve(graph: Graph, operator: Operator, x: Tensor) -> Tensor:
    """One convolution on a map [1, h, w, c], in float32, with its activation."""
    kernel = torch.from_numpy(graph.constant(operator.inputs[1]))
    depthwise = operator.kind == "depthwise"
    weight = kernel.permute(3, 0, 1, 2) if depthwise else kernel.permute(0, 3, 1, 2)
    x = x.permute(0, 3, 1, 2)
    if operator.padding == "same":
        x = _same(x, weight.shape[-1], operator.strides[0])
    bias = torch.from_numpy(graph.constant(operator.inputs[2]))
    x = F.conv2d(x, weight, bias, operator.strides, groups=len(weight) if depthwise else 1)
    limits = graph.values[operator.outputs[0]].range
    if operator.activation == "relu6" or (limits is not None and limits[0] == 0):
        x = x.clamp(0, 6)
    return x.permute(0, 2, 3, 1)


def _run(graph: Graph, image: Tensor) -> tuple[Tensor, Tensor]:
    """(logits, offsets as dy, dx, dh, dw) by running the file's operators one after the other."""
    known: dict[int, Tensor] = {graph.inputs[0]: image}
    for operator in graph.operators[:-1]:
        given = [known[i] for i in operator.inputs if i in known]
        shape = graph.values[operator.outputs[0]].shape
        if operator.kind in ("conv", "depthwise"):
            result = _convolve(graph, operator, given[0])
        elif operator.kind == "add":
            result = given[0] + given[1]
        elif operator.kind == "pack":  # doubles rows or columns: the axis is where the shape has grown
            axis = 3 if shape[2] == given[0].shape[2] and len(shape) == 5 else 2
            result = torch.stack([given[0]] * 2, dim=axis)
        elif operator.kind == "concatenation":
            result = torch.cat(given, dim=1)
        else:
            result = given[0]
        known[operator.outputs[0]] = result.reshape(shape)
    offsets, scores, _ = graph.operators[-1].inputs
    logits = next(o.inputs[0] for o in graph.operators if o.outputs == (scores,))
    return known[logits], known[offsets]


@pytest.fixture(scope="module", params=_FILES)
def file(request: pytest.FixtureRequest, shared_weights: Path) -> Path:
    return shared_weights / str(request.param)


def test_the_imported_network_computes_what_the_files_operators_compute(file: Path) -> None:
    name, state = tflite.read(file)
    assert name == _FILES[file.name]
    model = build_model(load_spec(name)).eval()
    model.load_state_dict(state)
    side = model.spec.input.width
    image = torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    logits, coded = _run(read_graph(file), image)
    with torch.no_grad():
        predictions = model(image.permute(0, 3, 1, 2).contiguous())
    assert torch.allclose(predictions.logits, logits, atol=1e-3)
    assert torch.allclose(predictions.offsets, coded[..., [1, 0, 3, 2]], atol=1e-3)


def test_the_sheets_priors_are_those_of_the_file(file: Path) -> None:
    graph = read_graph(file)
    model = build_model(load_spec(tflite.recognise(graph)))
    assert np.abs(tflite.read_priors(graph) - model.priors.numpy()).max() < _PRIOR_ERROR


def test_the_sheets_rule_of_suppression_is_that_of_the_file(file: Path) -> None:
    graph = read_graph(file)
    spec = load_spec(tflite.recognise(graph))
    options = graph.operators[-1].options
    assert options["num_classes"] == len(spec.labels.names)
    assert options["nms_iou_threshold"] == pytest.approx(spec.postprocess.iou)
    assert options["x_scale"] == pytest.approx(1 / spec.coder.center_variance)
    assert options["h_scale"] == pytest.approx(1 / spec.coder.size_variance)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.99])
def test_a_file_that_is_cut_off_is_one_sentence(file: Path, tmp_path: Path, share: float) -> None:
    data = file.read_bytes()
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match=r"cut\.tflite"):
        tflite.read(cut)


def test_damaged_bytes_are_one_sentence_or_other_numbers_but_never_another_error(file: Path, tmp_path: Path) -> None:
    data = np.frombuffer(file.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    broken = tmp_path / "broken.tflite"
    for _ in range(20):
        damaged = data.copy()
        tail = len(damaged) - rng.integers(1, 40_000, 50)  # tables lie at the end or the beginning
        damaged[np.concatenate([tail, rng.integers(8, 20_000, 50)])] = rng.integers(0, 256, 100)
        broken.write_bytes(damaged.tobytes())
        try:
            tflite.read(broken)
        except ModelError as error:
            assert "broken.tflite" in str(error)


def test_a_file_of_another_kind_or_none_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other.tflite"
    other.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(ModelError, match=r"other\.tflite: not a readable TensorFlow Lite file"):
        tflite.read(other)
    with pytest.raises(ModelError, match=r"absent\.tflite: cannot be read"):
        tflite.read(tmp_path / "absent.tflite")


def test_a_flexbuffer_of_each_kind_is_read() -> None:
    assert read_flex(b"\x2a\x04\x01") == 42
    assert read_flex(b"\xff\x04\x01") == -1
    assert read_flex(b"\x01\x68\x01") is True
    assert read_flex(b"\x00\x00\x20\x41\x0e\x04") == 10.0
    assert read_flex(b"\x02hi\x00\x03\x14\x01") == "hi"
    # a vector of 1 and 2, then a map {"a": 7}
    assert read_flex(b"\x02\x01\x02\x04\x04\x04\x28\x01") == [1, 2]
    assert read_flex(b"a\x00\x01\x03\x01\x01\x01\x07\x04\x02\x24\x01") == {"a": 7}


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x01\x04\x03", b"\xff\x28\x01", b"\x05\x00\x24\x01", b"\x00\xff\x01"])
def test_a_flexbuffer_that_points_nowhere_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="not a readable"):
        read_flex(data)
