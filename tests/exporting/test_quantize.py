"""Rounding to 8 bits: laws on small graphs, and one real detector that is quantised, run and judged for real."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from multibox.data.dataset import Dataset, Record
from multibox.errors import DataError, ExportError
from multibox.evaluation.evaluate import evaluate
from multibox.exporting.accuracy import Accuracy, count_matches, measured
from multibox.exporting.calibration import Seen, find_images, observe, read_inputs, spread
from multibox.exporting.check import sample_images
from multibox.exporting.export import Judge, export_model
from multibox.exporting.folding import fold_norms
from multibox.exporting.order import make_order
from multibox.exporting.placement import place
from multibox.exporting.qdq import Scale, weight_codes, weight_steps
from multibox.exporting.quantize import FEW, round_graph
from multibox.exporting.wiring import Wiring
from multibox.images.prepare import prepare
from multibox.prediction.detector import Detector
from multibox.prediction.engines import open_engine
from multibox.prediction.engines.base import Engine, RawDetections
from multibox.prediction.engines.onnx_file import read_onnx
from multibox.prediction.engines.torch_engine import TorchEngine
from multibox.zoo import load_spec
from multibox.zoo.models import load_model

SPEC = load_spec("ssdlite320_mobilenet_v3_large").with_names(("cat", "dog", "cup"))
SMALL = replace(SPEC, input=replace(SPEC.input, height=16, width=16))


def constant(name: str, value: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def small_graph(batch: int | str = "n") -> onnx.ModelProto:
    """Pixels -> / 255 -> convolution, ReLU -> (pooled -> depthwise, norm, + residual) -> convolution -> exp."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Div", ["numbers", "255"], ["fractions"], "div"),
        helper.make_node("Transpose", ["fractions"], ["input"], "turn", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["input", "w1", "b1"], ["c1"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu"),
        helper.make_node("MaxPool", ["r1"], ["p1"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], "depthwise", pads=[1, 1, 1, 1], group=8),
        helper.make_node("BatchNormalization", ["c2", "gain", "shift", "mean", "variance"], ["n2"], "norm"),
        helper.make_node("Add", ["n2", "p1"], ["a2"], "add"),
        helper.make_node("Conv", ["a2", "w3", "b3"], ["c3"], "last"),
        helper.make_node("Exp", ["c3"], ["out"], "exp"),
    ]
    weights = [
        constant("255", 255.0),
        constant("w1", rng.normal(0, 0.4, (8, 3, 3, 3))),
        constant("b1", rng.normal(0, 0.1, 8)),
        constant("w2", rng.normal(0, 0.4, (8, 1, 3, 3))),
        constant("gain", rng.uniform(0.5, 2, 8)),
        constant("shift", rng.normal(0, 0.2, 8)),
        constant("mean", rng.normal(0, 0.2, 8)),
        constant("variance", rng.uniform(0.5, 2, 8)),
        constant("w3", rng.normal(0, 0.2, (4, 8, 1, 1))),
        constant("b3", rng.normal(0, 0.1, 4)),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [batch, 16, 16, 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [batch, 4, 8, 8])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(graph: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": images})[0])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten pictures of noise around different colours, 24 x 20."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(10):
        pixels = rng.normal(25 * number, 40, (20, 24, 3)).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
    return folder


def inputs(pictures: Path) -> np.ndarray:
    return np.concatenate(list(read_inputs(find_images(pictures), SMALL.input)))


def quantized(graph: onnx.ModelProto, pictures: Path) -> onnx.ModelProto:
    return round_graph(graph, read_inputs(find_images(pictures), SMALL.input))


def test_zero_is_exact_and_both_ends_are_within_half_a_step():
    for low, high in [(-1.0, 3.0), (0.0, 6.0), (-5.0, -1.0), (0.3, 0.9), (0.0, 0.0)]:
        scale = Scale.spanning(low, high)
        codes = np.clip(np.rint(np.array([0.0, low, high]) / scale.step) + scale.zero, 0, 255)
        numbers = (codes - scale.zero) * scale.step
        assert numbers[0] == 0
        np.testing.assert_allclose(numbers[1:], [low, high], atol=0.51 * scale.step)


def test_weights_come_back_within_half_a_step_of_their_own_channel():
    weight = np.random.default_rng(0).normal(0, 1, (5, 4, 3, 3)).astype(np.float32)
    weight *= np.float32([1e-3, 1, 1e3, 0, 1])[:, None, None, None]
    steps = weight_steps(weight, np.zeros(5, np.float32), Scale.spanning(0.0, 1.0))
    back = weight_codes(weight, steps) * steps[:, None, None, None]
    assert (np.abs(back - weight).max(axis=(1, 2, 3)) <= 0.5001 * steps).all()


def test_a_bias_far_above_its_weights_still_fits_32_bits():
    weight, bias = np.full((1, 1, 1, 1), 1e-9, np.float32), np.float32([100.0])
    steps = weight_steps(weight, bias, Scale.spanning(0.0, 0.01))
    assert abs(bias[0] / (steps[0] * Scale.spanning(0.0, 0.01).step)) < 2**31


def test_a_folded_norm_changes_no_number(pictures):
    graph, images = small_graph(), inputs(pictures)
    before = run(graph, images)
    assert fold_norms(graph.graph) == 1
    assert all(node.op_type != "BatchNormalization" for node in graph.graph.node)
    np.testing.assert_allclose(run(graph, images), before, rtol=1e-4)


def test_rounding_lies_between_the_convolutions_only():
    graph = small_graph()
    fold_norms(graph.graph)
    placement = place(Wiring(graph.graph))
    assert [node.name for node in placement.convolutions] == ["first", "depthwise", "last"]
    assert placement.values == {"input": "input", "r1": "r1", "p1": "r1", "n2": "n2", "a2": "a2"}
    assert list(placement.bounds) == ["r1"]


def test_the_rounded_graph_gives_nearly_the_same_numbers_and_leaves_the_given_one_alone(pictures):
    graph, images = small_graph(), inputs(pictures)
    untouched = graph.SerializeToString(deterministic=True)
    result = quantized(graph, pictures)
    assert graph.SerializeToString(deterministic=True) == untouched
    onnx.checker.check_model(result, full_check=True)
    before, after = np.log(run(graph, images)), np.log(run(result, images))
    assert np.abs(after - before).max() > 0  # it does compute with other numbers
    assert np.sqrt(np.square(after - before).mean()) < 0.02 * before.std()
    assert abs((after - before).mean()) < 0.005 * before.std()


def test_what_the_last_convolution_gives_stays_float(pictures):
    wiring = Wiring(quantized(small_graph(), pictures).graph)
    behind = [node for node in wiring.nodes if node.op_type == "Exp"]
    assert wiring.maker[behind[0].input[0]].name == "last"
    stored = {value.data_type for value in wiring.weights.values()}
    assert {TensorProto.INT8, TensorProto.INT32, TensorProto.UINT8} < stored


def test_a_graph_of_a_fixed_number_of_images_is_calibrated_too(pictures):
    result = quantized(small_graph(batch=2), pictures)
    assert run(result, inputs(pictures)[:2]).shape == (2, 4, 8, 8)


def test_what_was_seen_is_the_extremes_and_the_mean_of_each_channel(pictures):
    graph, images = small_graph(), inputs(pictures)
    seen = observe(graph, ["input"], (image[None] for image in images))["input"]
    assert (seen.lowest, seen.highest) == (0, images.max() / np.float32(255))
    np.testing.assert_allclose(seen.mean, images.mean(axis=(0, 1, 2)) / 255, rtol=1e-5)
    assert Seen().mean == 0


def test_images_are_spread_evenly_over_all(tmp_path):
    paths = [tmp_path / f"{number:03d}.png" for number in range(100)]
    assert spread(paths, 200) == paths
    chosen = [paths.index(path) for path in spread(paths, 10)]
    assert chosen == list(range(5, 100, 10))


def test_the_pictures_of_a_folder_are_found_and_its_absence_is_one_sentence(pictures, tmp_path):
    assert len(find_images(pictures)) == 10
    assert find_images(pictures / "3.png") == [pictures / "3.png"]
    with pytest.raises(DataError, match="no such file or folder"):
        find_images(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images to calibrate with"):
        find_images(tmp_path / "empty")


def test_of_a_data_set_the_training_split_is_taken(tmp_path):
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"JPEGImages/{name}.jpg"), np.zeros((8, 8, 3), np.uint8))
        size = "<size><width>8</width><height>8</height><depth>3</depth></size>"
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
        text = f"<annotation><filename>{name}.jpg</filename>{size}<object><name>cat</name>{box}</object></annotation>"
        (tmp_path / f"Annotations/{name}.xml").write_text(text)
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\n")
    (tmp_path / "ImageSets/Main/test.txt").write_text("b\n")
    assert [path.name for path in find_images(tmp_path)] == ["a.jpg"]


def test_unreadable_pictures_are_left_out_by_name_and_none_readable_is_an_error(pictures, caplog):
    (pictures / "0.png").write_bytes(b"no picture")
    done: list[tuple[int, int]] = []
    found = list(read_inputs(find_images(pictures), SMALL.input, lambda *at: done.append(at)))
    assert len(found) == 9
    assert done[-1] == (10, 10)
    assert "0.png" in caplog.text
    with pytest.raises(DataError, match="none of 1 images"):
        list(read_inputs([pictures / "0.png"], SMALL.input))


FOUND = RawDetections(
    np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0, 1, 1]], np.float32),
    np.array([0.9, 0.5, 0.1], np.float32),
    np.array([0, 1, 1]),
)
NOTHING = RawDetections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def test_confident_detections_are_looked_for_on_the_other_side():
    assert count_matches(FOUND, FOUND) == (4, 4)
    assert count_matches(FOUND, NOTHING) == count_matches(NOTHING, FOUND) == (2, 0)
    assert count_matches(FOUND, FOUND._replace(scores=FOUND.scores - np.float32(0.05))) == (4, 4)
    assert count_matches(FOUND, FOUND._replace(scores=FOUND.scores - np.float32(0.15))) == (4, 0)
    assert count_matches(FOUND, FOUND._replace(labels=np.array([0, 0, 1]))) == (4, 2)
    assert count_matches(FOUND, FOUND._replace(boxes=FOUND.boxes * np.float32([1, 1, 1, 0.9]))) == (4, 4)
    assert count_matches(FOUND, FOUND._replace(boxes=FOUND.boxes * np.float32([1, 1, 1, 0.6]))) == (4, 0)
    assert count_matches(NOTHING, NOTHING) == (0, 0)


def test_the_line_says_whether_accuracy_was_measured():
    accuracy = Accuracy(engines="a and b", images=2, detections=10, matching=7)
    assert (accuracy.share, accuracy.drop) == (0.7, None)
    assert "7 of 10 detections match (70.0 %), which is little; accuracy was not measured" in str(accuracy)
    measured = replace(accuracy, measured_on="openvino", before=0.5, after=0.48)
    assert measured.drop == pytest.approx(2)
    assert "AP 50.0 with torch, 48.0 on openvino (-2.0)" in str(measured)
    assert Accuracy(engines="a", images=1, detections=0, matching=0).share == 1


def test_a_comparison_of_nothing_says_so():
    nothing = Accuracy(engines="a and b", images=2, detections=0, matching=0)
    assert str(nothing).startswith("a and b on 2 images: nothing is found with a score of 0.25 or more")


class Finds:
    """An engine of a made-up detector that always finds the same."""

    name = "onnxruntime"
    spec = SPEC
    calls = 1

    def __init__(self, found: RawDetections) -> None:
        self.found = found

    def run(self, batch: np.ndarray) -> list[RawDetections]:
        return [self.found] * len(batch)


def judged(before: float, after: float, max_drop: float) -> Accuracy:
    truth, engine = Finds(FOUND), Finds(FOUND)
    accuracy = Accuracy(engines="a and b", images=1, detections=4, matching=4)
    return measured(accuracy, truth, engine, lambda it: before if it is truth else after, max_drop)


@pytest.mark.parametrize(("before", "after", "max_drop"), [(0.5, 0.4951, 0.5), (0.5, 0.481, 2.0), (0.5, 0.6, 0.0)])
def test_a_file_that_loses_little_is_kept(before, after, max_drop):
    accuracy = judged(before, after, max_drop)
    assert (accuracy.before, accuracy.after, accuracy.measured_on) == (before, after, "onnxruntime")


@pytest.mark.parametrize("after", [0.494, 0.0, float("nan")])
def test_a_worse_file_is_refused(after):
    with pytest.raises(ExportError, match=r"AP falls by .* points, from 50\.0 to .*at most 0\.5 are allowed"):
        judged(0.5, after, 0.5)


def test_a_data_set_without_objects_measures_nothing():
    with pytest.raises(DataError, match="no objects"):
        judged(-1.0, -1.0, 0.5)


@pytest.mark.slow
def test_a_trained_detector_keeps_what_it_finds_and_one_calibrated_on_black_is_refused(
    shared_weights, tmp_path, caplog
):
    model = load_model(shared_weights / "ultra_light_face_rfb_320.pth")  # random weights would multiply rounding
    photos, path = sample_images(), tmp_path / "faces.onnx"
    for kind in ("photos", "black"):
        (tmp_path / kind).mkdir()
        for number, photo in enumerate(photos):
            cv2.imwrite(str(tmp_path / kind / f"{number}.png"), photo[..., ::-1] * (kind == "photos"))
    dataset = of_detections(TorchEngine(model), sorted((tmp_path / "photos").iterdir()))
    judge = Judge(measure=lambda engine: float(evaluate(Detector(engine), dataset).metrics["AP"]), max_drop=20.0)
    bad, good = (make_order(precision="int8", calibration=tmp_path / kind) for kind in ("black", "photos"))
    with pytest.raises(ExportError, match="calibrate with more images"):
        export_model(model, path, bad, judge=judge)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["black", "photos"]
    accuracy = export_model(model, path, good, judge=judge).agreement
    assert isinstance(accuracy, Accuracy)
    assert f"only {len(photos)} images to calibrate with" in caplog.text
    assert len(photos) < FEW
    assert accuracy.detections > 2 * len(photos)
    assert accuracy.share > 0.8, accuracy
    assert accuracy.before == pytest.approx(1, abs=0.01)
    file = read_onnx(path)
    assert (file.spec, file.precision) == (model.spec, "int8")
    for name in ("openvino", "onnxruntime"):
        pytest.importorskip(name)
        engine = open_engine(path, name, threads=1)
        batch = np.stack([prepare(photo, model.spec.input).pixels for photo in photos[:3]])
        for together, image in zip(engine.run(batch), batch, strict=True):
            np.testing.assert_allclose(together.scores, engine.run(image[None])[0].scores, atol=1e-5)


def of_detections(engine: Engine, paths: list[Path]) -> Dataset:
    """A data set whose truth is what an engine finds."""
    records = []
    for number, prediction in enumerate(Detector(engine).stream(paths, 0.4)):
        found = prediction.detections
        none = np.zeros(len(found), np.bool_)
        size = (prediction.width, prediction.height)
        records.append(Record(number, paths[number], *size, found.xyxy, np.asarray(found.class_id), none, none))
    names = engine.spec.labels.names
    return Dataset(names, tuple(range(len(names))), tuple(records), paths[0].parent, "coco", "val")
