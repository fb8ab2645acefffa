"""Names lead to sheets, files lead to models, and a new model takes from a trained one all that fits."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.sheet import from_json, to_json
from multibox.weights import checkpoint
from multibox.weights.source import Loaded
from multibox.zoo import list_models, load_spec
from multibox.zoo.models import load_model
from multibox.zoo.transfer import transfer
from sheets import light_networks, named

LITE = "ssdlite320_mobilenet_v3_large"


def _model(*names: str) -> SSD:
    return build_model(load_spec(LITE).with_names(names))


def _loaded(model: SSD) -> Loaded:
    return Loaded(spec=model.spec, state={k: v.clone() for k, v in model.state_dict().items()})


@pytest.mark.parametrize("name", list_models())
def test_every_sheet_is_named_by_its_file_and_survives_json(name: str) -> None:
    spec = load_spec(name)
    assert spec.name == name
    assert from_json(to_json(spec)) == spec
    assert all(load_spec(alias) == spec for alias in spec.aliases)
    assert len(spec.labels.ids) in (0, len(spec.labels.names))


def test_aliases_lead_to_one_model_each() -> None:
    aliases = [alias for name in list_models() for alias in load_spec(name).aliases]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(list_models())


def test_columns_of_the_torchvision_models_are_raw_coco_ids() -> None:
    for name in (f"{LITE}.torchvision_coco", "ssd300_vgg16.torchvision_coco"):
        spec = load_spec(name)
        assert spec.columns == 91 and spec.labels.ids == tuple(range(1, 91))
        assert spec.labels.names[0] == "person" and spec.labels.names[11] == "unused 12"
        assert spec.labels.names[89] == "toothbrush"


def test_a_typo_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ModelError, match=r"no model 'ssd300_vg16'; did you mean 'ssd300_vgg16'\?"):
        load_spec("ssd300_vg16")


def test_a_users_sheet_is_read_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"mine\.toml: not a readable sheet"):
        load_spec(tmp_path / "mine.toml")


@pytest.mark.parametrize("name", light_networks())
def test_a_saved_model_predicts_the_same_numbers(name: str, tmp_path: Path) -> None:
    spec = named(name)
    model = build_model(spec).eval()
    checkpoint.save(tmp_path / "x.safetensors", model.state_dict(), spec)
    again = load_model(tmp_path / "x.safetensors")
    assert not again.training and again.spec == spec
    images = torch.randn(1, 3, spec.input.height, spec.input.width)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(model(images), again(images), strict=True))


def test_tensors_that_do_not_fit_are_named(tmp_path: Path) -> None:
    model = _model("cat", "dog")
    state = model.state_dict()
    path = tmp_path / "x.safetensors"
    wider = replace(model.spec, labels=replace(model.spec.labels, names=("cat", "dog", "cow")))
    checkpoint.save(path, state, wider)
    with pytest.raises(ModelError, match=r"'head.classes.0.1.weight' is \[18, 672, 1, 1\], not \[24, 672, 1, 1\]"):
        load_model(path)
    first = next(iter(state))
    checkpoint.save(path, {k: v for k, v in state.items() if k != first}, model.spec)
    with pytest.raises(ModelError, match=f"'{first}' is missing, 1 such"):
        load_model(path)
    checkpoint.save(path, {**state, "extra": torch.zeros(1)}, model.spec)
    with pytest.raises(ModelError, match="'extra' is unknown"):
        load_model(path)


def test_transfer_between_equal_models_takes_everything() -> None:
    old, new = _model("cat", "dog"), _model("cat", "dog")
    report = transfer(new, _loaded(old))
    assert report.reinitialised == () and report.unused == () and report.classes == ("cat", "dog")
    assert all(torch.equal(a, b) for a, b in zip(old.state_dict().values(), new.state_dict().values(), strict=True))


def test_transfer_finds_class_rows_by_name() -> None:
    old, new = _model("cat", "dog", "cow"), _model("kettle", "cow", "cat")
    with torch.no_grad():
        old.head.classes[0][1].bias.copy_(torch.arange(24.0))
    before = new.head.classes[0][1].weight.clone()
    report = transfer(new, _loaded(old))
    assert report.classes == ("cow", "cat") and report.reinitialised == ()
    # per shape of a cell: background, cat, dog, cow -> background, (kettle), cow, cat
    bias = new.head.classes[0][1].bias.view(6, 4)
    assert bias[1].tolist() == [4.0, 0.0, 7.0, 5.0]
    rows = new.head.classes[0][1].weight.view(6, 4, -1)
    given = old.head.classes[0][1].weight.view(6, 4, -1)
    assert torch.equal(rows[:, 3], given[:, 1]) and torch.equal(rows[:, 1], before.view(6, 4, -1)[:, 1])


def test_transfer_leaves_what_has_another_shape() -> None:
    old, new = _model("cat"), _model("cat")
    given = _loaded(old)
    key = "backbone.features.0.0.weight"
    given.state[key] = torch.zeros(1, 2, 3)
    given.state["foreign"] = torch.zeros(1)
    before = new.state_dict()[key].clone()
    report = transfer(new, given)
    assert report.reinitialised == (key,) and report.unused == (key, "foreign")
    assert torch.equal(new.state_dict()[key], before)


def test_transfer_counts_tensors_by_part_of_the_network() -> None:
    report = transfer(_model("cat"), _loaded(_model("cat", "dog")))
    parts = report.parts()
    assert list(parts) == ["backbone", "extras", "head.boxes", "head.classes"]
    assert all(taken == count for taken, count in parts.values())
    assert sum(count for _, count in parts.values()) == len(report.loaded)


def test_transfer_between_kinds_of_score_keeps_all_but_the_class_rows() -> None:
    old, new = _model("cat", "dog"), _model("cat", "cow")
    old.spec = replace(old.spec, activation="sigmoid", background=False)
    given = _loaded(old)
    for key in [key for key in given.state if key.startswith("head.classes") and key.split(".")[3] == "1"]:
        given.state[key] = given.state[key][: len(given.state[key]) * 2 // 3]
    report = transfer(new, given)
    assert report.classes == () and report.misfits == ("cat",)
    assert report.parts()["head.classes"][1] - report.parts()["head.classes"][0] == len(report.reinitialised) == 12
    assert all(key.startswith("head.classes") for key in report.reinitialised)


def test_transfer_with_other_priors_per_cell_keeps_the_levels_that_fit() -> None:
    old, new = _model("cat"), _model("cat")
    given = _loaded(old)
    for key in ("head.classes.0.1.weight", "head.classes.0.1.bias", "head.boxes.0.1.weight", "head.boxes.0.1.bias"):
        given.state[key] = given.state[key][: len(given.state[key]) * 2 // 3]
    report = transfer(new, given)
    assert report.classes == ("cat",) and len(report.reinitialised) == 4
    assert {key.rsplit(".", 1)[0] for key in report.reinitialised} == {"head.classes.0.1", "head.boxes.0.1"}


def test_transfer_into_a_shared_head_matches_names_too() -> None:
    base = load_spec("ssd320_mobilenet_v2_fpnlite")
    old, new = build_model(base.with_names(("cat", "dog"))), build_model(base.with_names(("dog",)))
    report = transfer(new, _loaded(old))
    assert report.reinitialised == () and report.classes == ("dog",)


def torchvision_ssdlite_full_tail(classes: int) -> torch.nn.Module:
    """As torchvision builds it on an ImageNet backbone, without fetching one."""
    from functools import partial

    from torchvision.models import mobilenet_v3_large
    from torchvision.models.detection.ssdlite import SSDLiteHead, _mobilenet_extractor

    norm = partial(torch.nn.BatchNorm2d, eps=0.001, momentum=0.03)
    whole = torch.nn.Module()
    whole.backbone = _mobilenet_extractor(mobilenet_v3_large(norm_layer=norm, reduced_tail=False), 6, norm)
    whole.head = SSDLiteHead([672, 960, 512, 256, 256, 128], [6] * 6, classes, norm)
    return whole.eval()


def test_a_torchvision_checkpoint_of_ones_own_classes_and_the_full_tail_is_read(tmp_path):
    theirs = torchvision_ssdlite_full_tail(classes=4)
    torch.save(theirs.state_dict(), tmp_path / "own.pth")
    model = load_model(tmp_path / "own.pth")
    assert model.spec.labels.names == ("class 1", "class 2", "class 3")
    images = torch.randn(1, 3, 320, 320)
    with torch.inference_mode():
        wanted = theirs.head(list(theirs.backbone(images).values()))
        logits, offsets = model(images)
    assert torch.allclose(logits, wanted["cls_logits"], atol=1e-5)
    assert torch.allclose(offsets, wanted["bbox_regression"], atol=1e-5)


def test_a_torchvision_ssd300_of_ones_own_classes_is_read_bare_and_as_its_script_saves_it(tmp_path):
    from torchvision.models.detection import ssd300_vgg16

    theirs = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=3)
    options = Namespace(model="ssd300_vgg16", lr=0.002, lr_steps=[80, 110], output_dir="out", device="cpu")
    script = {"model": theirs.state_dict(), "optimizer": {}, "lr_scheduler": {}, "args": options, "epoch": 119}
    for content in (theirs.state_dict(), script):
        torch.save(content, tmp_path / "own.pth")
        assert load_model(tmp_path / "own.pth").spec.labels.names == ("class 1", "class 2")
