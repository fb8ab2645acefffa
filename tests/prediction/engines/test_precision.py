"""The precision in which a network computes is chosen where it is opened, as far as file and runtime allow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from multibox import load
from multibox.cli.sample import sample_photo
from multibox.errors import ModelError, UsageError
from multibox.evaluation.made_up import make_up
from multibox.images.prepare import prepare
from multibox.images.read import read_image
from multibox.network.model import SSD
from multibox.prediction.engines import open_engine
from multibox.prediction.engines.base import Engine
from multibox.prediction.engines.onnx_file import read_onnx
from multibox.prediction.engines.openvino_core import openvino_core
from multibox.prediction.engines.torch_engine import TorchEngine
from multibox.zoo import builtin_detector, load_spec

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def net() -> SSD:
    """Random weights whose scores are spread as after training."""
    spec = load_spec("ssdlite320_mobilenet_v3_large").with_names(("a", "b"))
    return make_up(spec, prepare(read_image(sample_photo()), spec.input).pixels)


def test_the_detector_in_the_box_finds_the_same_in_bfloat16() -> None:
    if "BF16" not in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bfloat16 arithmetic")
    found, low = (load(engine="openvino", precision=word).predict(sample_photo(), conf=0.5) for word in (None, "bf16"))
    assert low.data["class_name"].tolist() == found.data["class_name"].tolist() == ["person"]
    assert 0 < abs(low.confidence - found.confidence).max() < 0.05
    assert abs(low.xyxy - found.xyxy).max() < 10


def test_a_file_in_its_own_precision_is_the_file_itself() -> None:
    file = read_onnx(builtin_detector())
    assert file.computing_in("fp32", "onnxruntime") is file
    assert file.computing_in("bf16", "openvino").precision == "bf16"


@pytest.mark.parametrize(("engine", "precision"), [("onnxruntime", "bf16"), ("openvino", "fp16"), ("openvino", "int8")])
def test_what_a_runtime_does_not_compute_in_is_refused_with_the_way_out(engine, precision) -> None:
    with pytest.raises(ModelError, match=rf"'{engine}' runs this file in fp32, not in {precision}; "):
        open_engine(builtin_detector(), engine, precision=precision)


def test_torch_in_bfloat16_is_near_float32_and_leaves_the_model_as_it_was(net) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    images = prepare(read_image(sample_photo()), net.spec.input).pixels[None]
    exact, low = (TorchEngine(net, precision=word) for word in ("fp32", "bf16"))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    (found,), (near,) = exact.run(images), low.run(images)
    assert near.boxes.dtype == near.scores.dtype == np.float32
    assert isinstance(low, Engine)
    assert near.scores.tolist() != found.scores.tolist()
    assert near.scores[:20] == pytest.approx(found.scores[:20], abs=0.05)


@pytest.mark.parametrize(
    ("precision", "said"), [("fp16", "on GPUs only"), ("int8", "multibox export --precision int8")]
)
def test_torch_refuses_other_precisions_in_one_sentence(net, precision, said) -> None:
    with pytest.raises(UsageError, match=said):
        TorchEngine(net, precision=precision)
