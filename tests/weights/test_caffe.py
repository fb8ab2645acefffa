"""A .caffemodel is read in every form that Caffe has written, and gives the very model whose weights it holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import caffe_files as caffe
from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.weights.importers import caffemodel
from multibox.weights.source import load_weights
from multibox.zoo import load_spec
from multibox.zoo.models import load_model

CHUANQI = "ssd300_mobilenet_v1.chuanqi_voc"


def _random(name: str, names: tuple[str, ...] = ()) -> SSD:
    """A model in evaluation mode whose norms and biases are not those of a new one."""
    torch.manual_seed(0)
    spec = load_spec(name)
    model = build_model(spec.with_names(names) if names else spec).eval()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.endswith(("bias", "running_mean", "scale")):
                value.copy_(torch.randn_like(value))
            elif key.endswith("running_var"):
                value.copy_(torch.rand_like(value) + 0.5)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    return model


def _same(own: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return own.keys() == other.keys() and all(torch.equal(own[key], other[key]) for key in own)


def _write(path: Path, model: SSD, sources: Sequence[str], *, priors: bool = True) -> Path:
    layers = [*caffe.vgg_layers(model.state_dict(), sources)]
    if priors:
        layers += caffe.prior_boxes(model.spec, sources)
    path.write_bytes(caffe.network(layers))
    return path


@pytest.mark.parametrize(("name", "levels"), [("ssd300_vgg16.caffe_voc", 6), ("ssd512_vgg16.caffe_coco", 7)])
def test_a_vgg_file_gives_the_model_whose_weights_it_holds(tmp_path: Path, name: str, levels: int) -> None:
    model = _random(name)
    again = load_model(_write(tmp_path / "net.caffemodel", model, caffe.VGG_SOURCES[:levels]))
    assert again.spec == load_spec(name), "the sheet, with its published accuracy"
    assert _same(model.state_dict(), again.state_dict())


def test_priors_that_the_file_states_go_before_those_of_the_sheet(tmp_path: Path) -> None:
    """Models for VOC that started from COCO keep COCO's priors."""
    model = _random("ssd300_vgg16.caffe_coco", names=tuple(load_spec("ssd300_vgg16.caffe_voc").labels.names))
    again = load_model(_write(tmp_path / "net.caffemodel", model, caffe.VGG_SOURCES[:6]))
    assert again.spec.name == "ssd300_vgg16.caffe_voc" and again.spec.labels == load_spec(again.spec.name).labels
    assert torch.equal(again.priors, model.priors) and again.spec.check is None
    without = load_model(_write(tmp_path / "net.caffemodel", model, caffe.VGG_SOURCES[:6], priors=False))
    assert without.spec == load_spec("ssd300_vgg16.caffe_voc")


def test_a_file_of_ones_own_classes_is_read(tmp_path: Path) -> None:
    model = _random("ssd300_vgg16.caffe_voc", names=("cat", "dog"))
    again = load_model(_write(tmp_path / "net.caffemodel", model, caffe.VGG_SOURCES[:6]))
    assert again.spec.labels.names == ("class 1", "class 2") and torch.equal(again.priors, model.priors)


@torch.no_grad()
def test_a_mobilenet_file_gives_the_model_whose_weights_it_holds(tmp_path: Path) -> None:
    model, path = _random(CHUANQI), tmp_path / "net.caffemodel"
    images = torch.randn(1, 3, 300, 300)
    priors = [*caffe.prior_boxes(model.spec, caffe.MOBILENET_SOURCES)]
    path.write_bytes(caffe.network([*caffe.mobilenet_layers(model.state_dict(), merged=False), *priors]))
    again = load_model(path)
    assert again.spec == load_spec(CHUANQI) and _same(model.state_dict(), again.state_dict())
    path.write_bytes(caffe.network([*caffe.mobilenet_layers(model.state_dict(), merged=True), *priors]))
    merged = load_model(path)
    for own, other in zip(model(images), merged(images), strict=True):
        assert (own - other).abs().max() <= 1e-4 * own.std()


def test_sums_of_no_batches_are_zeros(tmp_path: Path) -> None:
    model, path = _random(CHUANQI), tmp_path / "net.caffemodel"
    path.write_bytes(caffe.network(caffe.mobilenet_layers(model.state_dict(), merged=False, total=0.0)))
    state = load_weights(path).state
    assert not state["backbone.stem.1.running_mean"].any() and not state["backbone.stem.1.running_var"].any()


@pytest.mark.parametrize(
    "form", [{}, {"old": True}, {"packed": False}, {"double": True}, {"old": True, "packed": False}]
)
def test_blobs_of_every_form_are_the_same(tmp_path: Path, form: dict[str, bool]) -> None:
    weight, bias = torch.randn(4, 3, 2, 2), torch.randn(4)
    path = tmp_path / "net.caffemodel"
    for layer in (
        caffe.layer("a/b", "Convolution", [caffe.blob(weight, **form), caffe.blob(bias, **form)]),
        caffe.old_layer("a/b", [caffe.blob(weight, **form), caffe.blob(bias, **form)]),
    ):
        for name in (b"", caffe.part(1, b"a network"), caffe.part(1, b"x" * 200) + caffe.part(3, b"data")):
            path.write_bytes(name + layer)
            assert caffemodel.looks_like(path.read_bytes()[:4096])
            state = caffemodel.read(path).state
            assert list(state) == ["a/b.0", "a/b.1"] and torch.equal(state["a/b.0"], weight)
            assert torch.equal(state["a/b.1"].flatten(), bias)


def test_a_file_that_is_cut_off_is_one_sentence(tmp_path: Path) -> None:
    whole = caffe.network(caffe.mobilenet_layers(_random(CHUANQI).state_dict(), merged=True))
    cut = tmp_path / "cut.caffemodel"
    for size in (0, 3, 5, 20, 5000, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:size])
        with pytest.raises(ModelError, match=r"cut\.caffemodel: (is empty|not a weights file|not a whole)") as caught:
            load_weights(cut)
        assert "\n" not in str(caught.value)


def test_damaged_bytes_are_one_sentence_or_other_numbers_but_never_another_error(tmp_path: Path) -> None:
    model = _random(CHUANQI)
    priors = [*caffe.prior_boxes(model.spec, caffe.MOBILENET_SOURCES)]
    layers = [caffe.conv("conv11_mbox_loc", model.state_dict(), "head.boxes.0"), *priors]
    data = np.frombuffer(caffe.network(layers), np.uint8)
    rng = np.random.default_rng(0)
    broken = tmp_path / "broken.caffemodel"
    for _ in range(300):
        damaged = data.copy()
        damaged[rng.integers(1, 60, 2)] = rng.integers(0, 256, 2)
        damaged[len(damaged) - rng.integers(1, 600, 5)] = rng.integers(0, 256, 5)
        broken.write_bytes(damaged.tobytes())
        try:
            load_weights(broken)
        except ModelError as error:
            assert "broken.caffemodel" in str(error)


def test_another_network_is_not_claimed(tmp_path: Path) -> None:
    path = tmp_path / "lenet.caffemodel"
    path.write_bytes(caffe.network([caffe.layer("conv1", "Convolution", [caffe.blob(torch.ones(1, 1, 2, 2))])]))
    with pytest.raises(ModelError, match=r"no importer knows these 1 tensors \(the first is 'conv1.0'\)"):
        load_weights(path)
    path.write_bytes(caffe.network([caffe.layer("data", "Input")]))
    with pytest.raises(ModelError, match="a network without weights"):
        load_weights(path)


@pytest.mark.parametrize(
    "head", [b"", b"\n", b"\n\n\n\n", b"hello, world", b"\x89PNG\r\n\x1a\n" + bytes(50), bytes(50)]
)
def test_other_files_are_not_taken_for_a_network(head: bytes) -> None:
    assert not caffemodel.looks_like(head)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (caffe.number(4, 0), "unflipped"),
        (caffe.number(5, 1), "clipped"),
        (caffe.single(1, 50.0), "several sizes"),
        (caffe.single(11, 8.0) + caffe.single(12, 9.0), "other steps down than across"),
    ],
)
def test_priors_that_no_sheet_describes_are_refused(tmp_path: Path, settings: bytes, words: str) -> None:
    box = caffe.single(1, 30.0) + settings
    model = _random("ssd300_vgg16.caffe_voc", names=("cat",))
    layers = [*caffe.vgg_layers(model.state_dict(), caffe.VGG_SOURCES[:6])]
    layers += [
        caffe.layer(f"{source}_mbox_priorbox", "PriorBox", settings=caffe.part(203, box))
        for source in caffe.VGG_SOURCES[:6]
    ]
    (tmp_path / "net.caffemodel").write_bytes(caffe.network(layers))
    with pytest.raises(ModelError, match=words):
        load_weights(tmp_path / "net.caffemodel")
