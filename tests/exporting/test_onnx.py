"""A real model, exported for real: agreement with torch, storage of weights, what is left behind when it fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from multibox.errors import ExportError, UsageError
from multibox.exporting.onnx import export_onnx
from multibox.exporting.parity import compare
from multibox.exporting.storage import round_weights
from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.prediction.engines import open_engine
from multibox.prediction.engines.onnx_file import read_onnx
from multibox.prediction.engines.torch_engine import TorchEngine
from multibox.zoo import load_spec
from sheets import lively, pixels

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> SSD:
    """SSDLite for three classes."""
    spec = load_spec("ssdlite320_mobilenet_v3_large").with_names(("cat", "dog", "cup"))
    return lively(spec, logits=1.5, offsets=0.5)


@pytest.fixture(scope="module")
def exported(model: SSD, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    parity = export_onnx(model, path, metrics={"AP": 0.5})
    assert parity.agrees
    assert parity.detections > 100
    return path


def test_all_three_engines_agree(model, exported):
    truth = TorchEngine(model)
    for name in ("openvino", "onnxruntime"):
        parity = compare(truth, open_engine(exported, name, threads=1), pixels(model.spec))
        assert parity.agrees, parity
        assert parity.detections > 100


def test_the_file_says_what_it_is_and_nothing_about_this_machine(model, exported):
    file = read_onnx(exported)
    assert file.spec == model.spec
    assert file.metrics == {"AP": 0.5}
    assert str(Path(torch.__file__).parent.parent).encode() not in file.data
    assert list(exported.parent.iterdir()) == [exported]


@pytest.mark.parametrize(("storage", "share"), [("int8", 0.35), ("fp16", 0.6)])
def test_smaller_files_compute_what_torch_does_with_the_same_rounding(storage, share, model, exported, tmp_path):
    path = tmp_path / "small.onnx"
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert export_onnx(model, path, weights=storage).agrees
    assert path.stat().st_size < share * exported.stat().st_size
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    rounded = TorchEngine(round_weights(model, storage))
    for name in ("openvino", "onnxruntime"):
        assert compare(rounded, open_engine(path, name, threads=1), pixels(model.spec)).agrees


def test_rounding_twice_is_rounding_once(model):
    once = round_weights(model, "int8")
    for a, b in zip(once.parameters(), round_weights(once, "int8").parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=0)


def test_a_fixed_number_of_images_and_photos_of_ones_own(model, tmp_path):
    photos = [np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)]
    model.train()
    parity = export_onnx(model, tmp_path / "two.onnx", batch=2, images=photos)
    assert parity.images == 1
    assert model.training
    model.eval()
    engine = open_engine(tmp_path / "two.onnx", "onnxruntime", threads=1)
    assert compare(TorchEngine(model), engine, pixels(model.spec)).agrees


def test_a_file_that_does_not_agree_is_not_left_behind(model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"what was there before")
    diverged = round_weights(model, "fp32")
    with torch.no_grad():
        next(diverged.head.parameters()).fill_(float("nan"))
    with pytest.raises(ExportError, match=r"model\.onnx: the exported file does not agree with torch .*nan"):
        export_onnx(diverged, path)
    assert path.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_said_in_one_sentence(model, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ExportError, match="cannot be written"):
        export_onnx(model, tmp_path / "file" / "model.onnx")
    with pytest.raises(UsageError, match="batch is 0"):
        export_onnx(model, tmp_path / "model.onnx", batch=0)


def test_a_model_that_was_never_trained_is_exported_too(tmp_path):
    spec = load_spec("ssd300_vgg16").with_names(("cat", "dog"))
    small = replace(spec, postprocess=replace(spec.postprocess, max_detections=20))
    assert export_onnx(build_model(small), tmp_path / "untrained.onnx").agrees
