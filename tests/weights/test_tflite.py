"""TensorFlow's .tflite detectors: the imported network computes what the file's own operators compute.

Two published files are read here; the other detectors are graphs made from their description (`tflite_graphs`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from multibox.errors import ModelError
from multibox.network.model import SSD
from multibox.weights.importers import tflite
from multibox.weights.importers.contract import Imported
from multibox.weights.importers.flatbuffer import read_flex
from multibox.weights.importers.tflite_graph import Graph, Operator, Value, read_graph
from multibox.weights.source import Loaded
from multibox.zoo import load_spec
from multibox.zoo.models import assemble
from tflite_graphs import Pyramid, Ssd, make_pyramid, make_ssd, run, shuffled

_FILES = {
    "tf1_ssd_mobilenet_v1_075_quant_coco.tflite": "ssd300_mobilenet_v1_075.tf1_coco",
    "tf2_ssd_mobilenet_v2_fpnlite_320_coco.tflite": "ssd320_mobilenet_v2_fpnlite.tf2_coco",
}
_PRIOR_ERROR = 1e-6
"""Rounding of float32; the older file's rounding to multiples is in its sheet."""


@pytest.fixture(scope="module", params=_FILES)
def file(request: pytest.FixtureRequest, shared_weights: Path) -> Path:
    return shared_weights / str(request.param)


def model_of(found: Imported) -> SSD:
    """The network of an imported file, with its weights in place."""
    return assemble(Loaded(sheet=found.sheet, changes=found.changes, state=found.state), "the file")


def assert_computes(graph: Graph, model: SSD) -> None:
    """The network gives what the graph's own operators give."""
    height, width = model.spec.input.height, model.spec.input.width
    image = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    logits, coded = run(graph, image)
    with torch.no_grad():
        predictions = model(image.permute(0, 3, 1, 2).contiguous())
    assert (predictions.logits - logits).abs().max() <= 1e-4 * logits.std()
    assert (predictions.offsets - coded[..., [1, 0, 3, 2]]).abs().max() <= 1e-4 * coded.std()
    assert np.abs(tflite.read_priors(graph) - model.priors.numpy()).max() < _PRIOR_ERROR


def test_a_published_file_is_its_sheet_and_computes_the_same(file: Path) -> None:
    found = tflite.read(file)
    assert found.sheet == _FILES[file.name]
    model = model_of(found)
    assert model.spec == load_spec(found.sheet)
    assert_computes(read_graph(file), model)


def test_the_sheets_rule_of_suppression_is_that_of_the_file(file: Path) -> None:
    spec = load_spec(_FILES[file.name])
    options = read_graph(file).operators[-1].options
    assert options["num_classes"] == len(spec.labels.names)
    assert options["nms_iou_threshold"] == pytest.approx(spec.postprocess.iou)
    assert options["x_scale"] == pytest.approx(1 / spec.coder.center_variance)
    assert options["h_scale"] == pytest.approx(1 / spec.coder.size_variance)


LEVELS = {
    "ssd300_mobilenet_v1.tf1_coco": Ssd(trunk=1),
    "ssd300_mobilenet_v2.tf1_coco": Ssd(trunk=2, separable_extras=True, kernel=3),
    "ssd300_mobilenet_v2.tf2_coco": Ssd(trunk=2),
    "ssdlite300_mobilenet_v2.tf1_coco": Ssd(trunk=2, separable_extras=True, separable_head=True),
}
PYRAMIDS = {
    "ssd640_mobilenet_v1_fpn.tf1_coco": Pyramid(trunk=1, size=640, channels=256, lite=False, smoothed=False),
    "ssd640_mobilenet_v1_fpn.tf2_coco": Pyramid(trunk=1, size=640, channels=256, lite=False),
    "ssd640_mobilenet_v2_fpnlite.tf2_coco": Pyramid(trunk=2, size=640, channels=128, lite=True),
}


@pytest.mark.parametrize("name", LEVELS)
def test_a_detector_with_extra_levels_is_its_sheet_and_computes_the_same(name: str) -> None:
    graph = make_ssd(LEVELS[name])
    found = tflite.convert(graph)
    model = model_of(found)
    assert model.spec == load_spec(name)
    assert_computes(graph, model)


@pytest.mark.parametrize("name", PYRAMIDS)
def test_a_detector_with_a_pyramid_is_its_sheet(name: str) -> None:
    assert model_of(tflite.convert(make_pyramid(PYRAMIDS[name]))).spec == load_spec(name)


@pytest.mark.parametrize("resize", ["pack", "mul", "resize_nearest"])
@pytest.mark.parametrize("name", PYRAMIDS)
def test_a_pyramid_on_a_smaller_input_computes_the_same(name: str, resize: str) -> None:
    plan = replace(PYRAMIDS[name], size=128, channels=64, resize=resize)
    graph = make_pyramid(plan)
    found = tflite.convert(graph)
    assert found.sheet == name
    model = model_of(found)
    assert (model.spec.input.height, model.spec.fpn.channels, model.spec.head.tower_channels) == (128, 64, 64)
    assert_computes(graph, model)


@pytest.mark.parametrize("size", [320, 160])  # 160 is no multiple of the last step: centres lie on corners
def test_a_small_fpnlite_computes_the_same(size: int) -> None:
    graph = make_pyramid(Pyramid(trunk=2, size=size, channels=128, lite=True, columns=8))
    found = tflite.convert(graph)
    assert found.sheet == f"ssd{320 if size == 320 else 640}_mobilenet_v2_fpnlite.tf2_coco"
    assert_computes(graph, model_of(found))


@pytest.mark.parametrize(
    "plan", [LEVELS["ssdlite300_mobilenet_v2.tf1_coco"], PYRAMIDS["ssd640_mobilenet_v1_fpn.tf1_coco"]]
)
def test_the_order_of_operators_in_a_file_means_nothing(plan: Ssd | Pyramid) -> None:
    graph = make_ssd(plan) if isinstance(plan, Ssd) else make_pyramid(replace(plan, size=128, channels=32))
    found = tflite.convert(graph)
    for seed in range(3):
        other = tflite.convert(shuffled(graph, seed))
        assert (other.sheet, other.changes) == (found.sheet, found.changes)
        assert other.state.keys() == found.state.keys()
        assert all(torch.equal(other.state[key], value) for key, value in found.state.items())


@pytest.mark.parametrize("width", [1.4, 0.5, 0.35, 0.25])
def test_mobilenet_v1_of_any_width_computes_the_same(width: float) -> None:
    graph = make_ssd(Ssd(trunk=1, width=width, columns=4))
    found = tflite.convert(graph)
    assert found.sheet == "ssd300_mobilenet_v1.tf1_coco"
    assert found.changes["backbone.width"] == pytest.approx(width, abs=1e-3)
    assert_computes(graph, model_of(found))


def test_ssdlite_on_mobilenet_v1_computes_the_same() -> None:
    graph = make_ssd(Ssd(trunk=1, width=0.5, separable_extras=True, separable_head=True))
    model = model_of(tflite.convert(graph))
    assert (model.spec.extras.kind, model.spec.head.kind) == ("separable", "separable")
    assert_computes(graph, model)


@pytest.mark.parametrize("columns", [2, 21])
def test_classes_of_ones_own_are_counted(columns: int) -> None:
    for graph in (
        make_ssd(Ssd(trunk=1, width=0.25, columns=columns)),
        make_pyramid(Pyramid(trunk=2, size=128, channels=32, lite=True, columns=columns)),
    ):
        assert len(model_of(tflite.convert(graph)).spec.labels.names) == columns - 1


def test_a_file_without_a_column_for_the_background_has_none() -> None:
    graph = make_ssd(Ssd(trunk=1, width=0.25, columns=5, options={"num_classes": 5}))
    model = model_of(tflite.convert(graph))
    assert not model.spec.background and len(model.spec.labels.names) == 5
    assert_computes(graph, model)


def test_settings_of_the_post_processing_are_those_of_the_file() -> None:
    options = {"x_scale": 5.0, "y_scale": 5.0, "w_scale": 4.0, "h_scale": 4.0, "nms_iou_threshold": 0.5, "softmax": 1.0}
    spec = model_of(tflite.convert(make_ssd(Ssd(trunk=1, width=0.25, options=options)))).spec
    assert (spec.coder.center_variance, spec.coder.size_variance) == (0.2, 0.25)
    assert spec.postprocess.iou == 0.5 and spec.activation == "softmax"


def test_priors_of_ones_own_are_read_from_the_file() -> None:
    graph = make_ssd(Ssd(trunk=1, width=0.25, aspect=1.5))
    model = model_of(tflite.convert(graph))
    assert model.spec.priors != load_spec("ssd300_mobilenet_v1.tf1_coco").priors
    assert_computes(graph, model)


def test_another_input_size_is_read_from_the_file() -> None:
    graph = make_ssd(Ssd(trunk=1, width=0.25, size=224))
    model = model_of(tflite.convert(graph))
    assert (model.spec.input.height, model.spec.input.width) == (224, 224)
    assert_computes(graph, model)


def edited(graph: Graph, number: int, edit: Callable[[Operator], Operator]) -> Graph:
    """The graph with another operator of that number."""
    operators = list(graph.operators)
    operators[number] = edit(operators[number])
    return replace(graph, operators=tuple(operators))


def with_value(graph: Graph, number: int, value: Value) -> Graph:
    """The graph with another value of that number."""
    values = list(graph.values)
    values[number] = value
    return replace(graph, values=tuple(values))


@pytest.fixture(scope="module")
def small() -> Graph:
    return make_ssd(Ssd(trunk=1, width=0.25, columns=3))


@pytest.fixture(scope="module")
def small_pyramid() -> Graph:
    return make_pyramid(Pyramid(trunk=2, size=128, channels=32, lite=True, columns=3))


def test_weights_of_half_precision_pass_through_an_operator(small: Graph) -> None:
    operator = small.operators[0]
    kernel = small.values[operator.inputs[1]]
    values = (*small.values, Value("half", kernel.shape, kernel.constant.astype(np.float16), None))
    turned = Operator("dequantize", (len(values) - 1,), (operator.inputs[1],))
    graph = replace(small, values=values, operators=(turned, *small.operators))
    graph = with_value(graph, operator.inputs[1], replace(kernel, constant=None))
    state = tflite.convert(graph).state["backbone.stem.0.weight"]
    assert torch.allclose(state, tflite.convert(small).state["backbone.stem.0.weight"], rtol=1e-3)


def test_priors_of_whole_multiples_are_the_usual_ones_with_their_quantum(small: Graph) -> None:
    number, quantum = small.operators[-1].inputs[2], 0.0065
    priors = small.values[number]
    rounded = (priors.constant / quantum).round() * quantum
    graph = with_value(small, number, replace(priors, constant=rounded, range=(0.0, 255 * quantum), scale=quantum))
    found = tflite.convert(graph)
    assert "priors.levels" not in found.changes and found.changes["priors.quantum"] == quantum
    assert np.abs(tflite.read_priors(graph) - model_of(found).priors.numpy()).max() < _PRIOR_ERROR


@pytest.mark.parametrize(("low", "high", "mean"), [(-1.0, 0.9921875, 128.0), (-1.0, 1.0, 127.5), (0.0, 1.0, 0.0)])
def test_a_quantised_input_says_what_its_pixels_stand_for(small: Graph, low: float, high: float, mean: float) -> None:
    spec = model_of(tflite.convert(with_value(small, 0, replace(small.values[0], range=(low, high))))).spec
    assert spec.input.mean == (mean,) * 3
    assert (255 - mean) / spec.input.std[0] == pytest.approx(high)


def test_what_does_not_belong_to_a_known_detector_is_one_sentence(small: Graph, small_pyramid: Graph) -> None:
    first = next(i for i, operator in enumerate(small.operators) if operator.kind == "concatenation")
    extra = next(i for i, o in enumerate(small.operators) if o.strides == (2, 2) and i > 27)
    priors = small.operators[-1].inputs[2]
    fewer = replace(small.values[priors], constant=small.values[priors].constant[:-6])
    bent = small.values[priors].constant.copy()
    bent[700:710] += 0.01
    cases = {
        "an operator 'pad' stands between": edited(small, first - 1, lambda o: replace(o, kind="pad")),
        "nothing before it computes tensor": edited(small, first - 1, lambda o: replace(o, inputs=o.outputs)),
        "no operator TFLite_Detection_PostProcess": replace(small, operators=small.operators[:-1]),
        "is of no network known": edited(small, 3, lambda o: replace(o, strides=(1, 1))),
        "another stride or padding": edited(small, extra, lambda o: replace(o, padding="valid")),
        "has activation 'none', which does not fit": edited(small, 5, lambda o: replace(o, activation="none")),
        "1911 priors, its predictors are for 1917": with_value(small, priors, fewer),
        "no regular grid": with_value(small, priors, replace(small.values[priors], constant=bent)),
        "settings that are not known": edited(small, -1, lambda o: replace(o, options={**o.options, "x_scale": 7.0})),
        "3 columns for 9 classes": edited(small, -1, lambda o: replace(o, options={**o.options, "num_classes": 9})),
        "carries other maps down|adds up other maps": edited(
            small_pyramid,
            next(i for i, o in enumerate(small_pyramid.operators) if o.kind == "add" and i > 64),
            lambda o: replace(o, inputs=o.inputs[:1] * 2),
        ),
    }
    for words, graph in cases.items():
        with pytest.raises(ModelError, match=words):
            tflite.convert(graph)


def test_a_shared_predictor_has_one_bias(small_pyramid: Graph) -> None:
    last = [i for i, o in enumerate(small_pyramid.operators) if o.kind == "conv"][-1]
    number = small_pyramid.operators[last].inputs[2]
    other = replace(small_pyramid.values[number], constant=small_pyramid.values[number].constant + 1)
    with pytest.raises(ModelError, match=r"'head\.class_predictor\.1' is shared, but differs between levels"):
        tflite.convert(with_value(small_pyramid, number, other))


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
