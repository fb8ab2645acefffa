"""Checkpoints of lufficc's SSD and of its fork for MobileNeXt: told apart, put in place, refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from lufficc_files import random_model, their_state
from multibox.errors import ModelError
from multibox.weights.importers import Foreign, lufficc, mobilenext
from multibox.zoo.models import load_model

SHEETS = [
    "ssd300_vgg16.lufficc_voc",
    "ssdlite320_mobilenet_v2.lufficc_voc",
    "ssdlite320_mobilenet_v3_large.lufficc_voc",
    "ssdlite320_mobilenet_v2.mobilenext_voc",
    "ssdlite320_mobilenet_v2.mobilenext_coco",
    "ssdlite320_mobilenext.mobilenext_voc",
    "ssdlite320_mobilenext.mobilenext_coco",
]
LITE = "ssdlite320_mobilenet_v2.lufficc_voc"


def _write(path: Path, state: dict[str, torch.Tensor]) -> Path:
    torch.save({"model": state, "iteration": 120000, "optimizer": {"state": {}}, "scheduler": {}}, path)
    return path


@pytest.mark.parametrize("sheet", SHEETS)
def test_every_tensor_finds_its_place_and_biases_before_norms_are_folded(sheet: str, tmp_path: Path) -> None:
    ours = random_model(sheet)
    read = load_model(_write(tmp_path / "theirs.pth", their_state(ours)))
    assert read.spec == ours.spec
    for (key, value), mine in zip(ours.state_dict().items(), read.state_dict().values(), strict=True):
        assert torch.allclose(value, mine, atol=1e-6), key


@pytest.mark.parametrize(
    ("size", "columns", "sheet"),
    [
        (300, 21, "ssd300_vgg16.lufficc_voc"),
        (300, 81, "ssd300_vgg16.lufficc_coco"),
        (300, 4, "ssd300_vgg16.lufficc_voc"),
        (512, 21, "ssd512_vgg16.lufficc_voc"),
        (512, 81, "ssd512_vgg16.lufficc_coco"),
    ],
)
@pytest.mark.parametrize("first_release", [False, True])
def test_vgg16_is_told_by_its_extra_levels_and_its_classes(
    size: int, columns: int, sheet: str, first_release: bool
) -> None:
    heads = "" if first_release else "box_head.predictor."
    keys = {
        f"{'' if first_release else 'backbone.'}l2_norm.weight": torch.ones(512),
        f"{heads}{'classification_headers' if first_release else 'cls_headers'}.0.bias": torch.zeros(4 * columns),
        f"{heads}{'classification_headers' if first_release else 'cls_headers'}.0.weight": torch.zeros(4 * columns, 1),
        f"{'' if first_release else 'backbone.'}extras.{9 if size == 512 else 7}.weight": torch.zeros(1),
        f"{'' if first_release else 'backbone.'}extras.{8 if size == 512 else 6}.weight": torch.zeros(1),
    }
    found = lufficc.read(Foreign(state=keys))
    assert found is not None and found.sheet == sheet
    assert {"backbone.first_norm.scale", "head.classes.0.bias"} <= found.state.keys()
    assert f"extras.blocks.{4 if size == 512 else 3}.2.weight" in found.state


@pytest.mark.parametrize(("names", "sheet"), [(80, LITE), (3, LITE), (2, "ssdlite320_mobilenext.mobilenext_coco")])
def test_a_training_for_other_classes_is_read(names: int, sheet: str, tmp_path: Path) -> None:
    ours = random_model(sheet, names)
    read = load_model(_write(tmp_path / "own.pth", their_state(ours)))
    assert read.spec.labels.names == tuple(f"class {i + 1}" for i in range(names))
    assert read.spec.activation == ours.spec.activation


def test_a_file_that_lacks_or_adds_a_tensor_is_one_sentence(tmp_path: Path) -> None:
    state = their_state(random_model(LITE))
    less = {k: v for k, v in state.items() if k != "backbone.extras.2.conv.2.weight"}
    more = {**state, "backbone.features.19.0.weight": torch.zeros(1)}
    other = {**state, "box_head.predictor.reg_headers.1.conv.3.bias": torch.zeros(16)}
    for broken, words in (
        (less, "'extras.blocks.2.2.0.weight' is missing"),
        (more, "'backbone.features.19.0.weight' is unknown"),
        (other, r"'head.boxes.1.1.bias' is \[16\], not \[24\]"),
    ):
        with pytest.raises(ModelError, match=words) as caught:
            load_model(_write(tmp_path / "broken.pth", broken))
        assert "\n" not in str(caught.value)


def test_files_without_these_heads_are_left_to_others() -> None:
    trunk = {f"backbone.{k}": v for k, v in torchvision.models.mobilenet_v2().state_dict().items()}
    head = {"box_head.predictor.cls_headers.0.conv.3.bias": torch.zeros(126)}
    unknown = {**head, "backbone.features.2.conv.0.weight": torch.zeros(96, 16, 1, 1)}  # a trunk that neither publishes
    for state in (trunk, head, unknown, {"vgg.0.weight": torch.zeros(1), "L2Norm.weight": torch.zeros(512)}):
        assert lufficc.read(Foreign(state=state)) is None
        assert mobilenext.read(Foreign(state=state)) is None
