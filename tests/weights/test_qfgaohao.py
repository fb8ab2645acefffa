"""Checkpoints of pytorch-ssd and of the face detector built on it: told apart, put in place, or refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from multibox.errors import ModelError
from multibox.images.read import read_image
from multibox.installed import sample_photo
from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.prediction.detector import load
from multibox.weights.importers import Foreign, qfgaohao, ultra_light_face
from multibox.zoo import load_spec
from multibox.zoo.convert import convert
from multibox.zoo.models import load_model

MODULES = {network.sheet: network.modules for network in (*qfgaohao.NETWORKS, *ultra_light_face.NETWORKS)}
LITE = "ssdlite300_mobilenet_v2.qfgaohao_voc"
FACE = "ssdlite320x240_rfb.ultra_light_face"
FACE_FILE = "ultra_light_face_rfb_320.pth"

State = dict[str, Tensor]


def random_model(sheet: str, names: int | None = None) -> SSD:
    """A model whose tensors all differ from their start."""
    spec = load_spec(sheet)
    torch.manual_seed(0)
    model = build_model(spec if names is None else spec.with_names(tuple(f"class {i + 1}" for i in range(names))))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for value in (layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var):
                assert value is not None
                value.uniform_(0.5, 1.5)
    return model.eval()


def their_state(model: SSD) -> State:
    """Our tensors under the keys of pytorch-ssd; depthwise convolutions before a norm in the heads get their biases."""
    modules = MODULES[f"{model.spec.architecture}.{model.spec.tag}"]
    names = {ours: theirs for theirs, ours in modules.items()}
    state: State = {}
    for key, value in model.state_dict().items():
        module, _, kind = key.rpartition(".")
        state[f"{names.get(module) or _head(module, model)}.{kind}"] = value.clone()
    for key in [key for key in state if "_headers" in key and key.endswith(".1.running_mean")]:
        bias = torch.linspace(-1, 1, len(state[key]))
        state[key] += bias
        state[key.replace(".1.running_mean", ".0.bias")] = bias
    return state


def _head(module: str, model: SSD) -> str:
    """`head.classes.0.0.1` -> `classification_headers.0.1`."""
    _, kind, level, *layer = module.split(".")
    last = "3" if model.spec.head.batch_norm else "2"
    own = {"": "", "0.0": ".0", "0.1": ".1", "1": f".{last}"}[".".join(layer)]
    return f"{'classification' if kind == 'classes' else 'regression'}_headers.{level}{own}"


def _write(path: Path, state: State) -> Path:
    torch.save(state, path)
    return path


@pytest.mark.parametrize("sheet", MODULES)
def test_every_tensor_finds_its_place_and_biases_before_norms_are_folded(sheet: str, tmp_path: Path) -> None:
    ours = random_model(sheet)
    read = load_model(_write(tmp_path / "theirs.pth", their_state(ours)))
    assert read.spec == ours.spec
    for (key, value), mine in zip(ours.state_dict().items(), read.state_dict().values(), strict=True):
        assert torch.allclose(value, mine, atol=1e-6), key


@pytest.mark.parametrize("sheet", ["ssd300_vgg16.qfgaohao_voc", "ssdlite300_mobilenet_v1.qfgaohao_voc", FACE])
def test_a_training_for_other_classes_is_read(sheet: str, tmp_path: Path) -> None:
    ours = random_model(sheet, names=3)
    read = load_model(_write(tmp_path / "open_images.pth", their_state(ours)))
    assert read.spec.labels.names == ("class 1", "class 2", "class 3")
    assert read.spec.check is None and read.spec.weights is None


def test_vgg16_files_from_before_the_batch_norm_have_the_l2_normalisation(tmp_path: Path) -> None:
    state = their_state(random_model("ssd300_vgg16.qfgaohao_voc"))
    for key in [key for key in state if key.startswith("source_layer_add_ons")]:
        del state[key]
    state["source_layer_add_ons.0.scale"] = torch.linspace(1, 20, 512)
    read = load_model(_write(tmp_path / "old.pth", state))
    assert not read.spec.backbone.first_batch_norm and read.spec.backbone.l2norm == 20.0
    assert read.backbone.first_norm.scale.tolist() == state["source_layer_add_ons.0.scale"].tolist()


def test_a_file_that_lacks_or_adds_a_tensor_or_has_another_shape_is_one_sentence(tmp_path: Path) -> None:
    state = their_state(random_model(LITE))
    key = "extras.2.conv.3.weight"
    less = {k: v for k, v in state.items() if k != key}
    other = {**state, key: state[key][:-1]}
    _refused(_write(tmp_path / "less.pth", less), r"'extras.blocks.2.1.0.weight' is missing, 1 such")
    _refused(
        _write(tmp_path / "more.pth", {**state, "extras.9.weight": torch.zeros(1)}), "'extras.9.weight' is unknown"
    )
    _refused(_write(tmp_path / "other.pth", other), r"'extras.blocks.2.1.0.weight' is \[127, 1, 3, 3\]")
    whole = _write(tmp_path / "whole.pth", state)
    (tmp_path / "part.pth").write_bytes(whole.read_bytes()[:100_000])
    _refused(tmp_path / "part.pth", "cut off or damaged")


def test_a_base_net_that_it_never_had_is_one_sentence(tmp_path: Path) -> None:
    keys = ("base_net.0.weight", "classification_headers.0.weight", "regression_headers.0.weight")
    _refused(
        _write(tmp_path / "net.pth", {key: torch.zeros(1) for key in keys}), "none of VGG16, MobileNet and Squeeze"
    )


@pytest.mark.parametrize("read", [qfgaohao.read, ultra_light_face.read])
def test_files_of_other_codebases_are_left_to_their_importers(read) -> None:
    for key in ("backbone.features.0.weight", "classification_headers.0.weight", "vgg.0.weight"):
        assert read(Foreign(state={key: torch.zeros(1)})) is None


def _refused(path: Path, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        load_model(path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


def test_the_larger_face_detector_is_taken_by_name(tmp_path: Path) -> None:
    path = _write(tmp_path / "version-RFB-640.pth", their_state(random_model(FACE)))
    convert(path, tmp_path / "out.safetensors", "version-RFB-640")
    spec = load_model(tmp_path / "out.safetensors").spec
    assert (spec.name, spec.input.width) == ("ssdlite640x480_rfb.ultra_light_face", 640)


@pytest.fixture(scope="module")
def face_file() -> Path:
    folder = os.environ.get("MULTIBOX_WEIGHTS")
    path = Path(folder or "") / FACE_FILE
    if not folder or not path.is_file():
        pytest.skip(f"needs {FACE_FILE}; set MULTIBOX_WEIGHTS to its folder")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_face_detector_finds_the_face_in_a_photo_and_nothing_else(face_file: Path, mirrored: bool) -> None:
    path = sample_photo()
    assert path is not None
    photo = read_image(path)
    face = torch.tensor([170.0, 120.0, 360.0, 330.0])  # from ear to ear, from the cap to the chin, seen by eye
    if mirrored:
        photo = photo[:, ::-1].copy()
        face = torch.stack([photo.shape[1] - face[2], face[1], photo.shape[1] - face[0], face[3]])
    found = load(face_file, "torch").predict(photo, conf=0.5)
    assert found.data["class_name"].tolist() == ["face"] and found.confidence[0] > 0.99
    assert torch.allclose(torch.from_numpy(found.xyxy[0]).float(), face, atol=12.0)
