"""The PyTorch port of GluonCV: what the parity fixtures do not hold. Its other presets are compared in tests/parity."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.weights.importers import gluon_torch
from multibox.weights.importers.contract import Foreign
from multibox.weights.source import load_weights
from multibox.zoo import load_spec
from multibox.zoo.models import load_model

DEEP_STEM = {"conv1.0": 0, "conv1.1": 1, "conv1.3": 3, "conv1.4": 4, "conv1.6": 6, "bn1": 7}


def heads(model: SSD) -> dict[str, Tensor]:
    """The predictors under the port's keys."""
    words = {"classes": "class_predictors", "boxes": "box_predictors"}
    return {
        f"{words[kind]}.{level}.predictor.{part}": value
        for kind in words
        for level, layer in enumerate(getattr(model.head, kind))
        for part, value in layer.state_dict().items()
    }


def anchors(model: SSD) -> dict[str, Tensor]:
    """The finest level's priors as the port's map of pixels."""
    shapes = len(model.head.boxes[0].bias) // 4
    return {"anchor_generators.0.anchor": (model.priors[:shapes] * model.spec.input.width).reshape(1, 1, 1, 1, -1)}


def v1s_file(model: SSD) -> dict[str, Tensor]:
    """SSD512 on ResNet-50 v1s: two halves, the blocks of the third stage flat behind the second stage."""
    file = heads(model) | anchors(model)
    for key, value in model.backbone.net.state_dict().items():
        layer, part = key.rsplit(".", 1)
        if layer in DEEP_STEM:
            name = f"0.{DEEP_STEM[layer]}"
        else:
            stage, block, rest = layer.split(".", 2)
            lead = {"layer1": "0.10.{}", "layer2": "0.11.{}", "layer3": "0.{}", "layer4": "1.{}"}[stage]
            name = f"{lead.format(int(block) + 12 * (stage == 'layer3'))}.{rest}"
        file[f"features.features.{name}.{part}"] = value
    for index, block in enumerate(model.extras.blocks):
        flat = nn.Sequential(*block[0], *block[1])  # convolution, norm, ReLU, twice
        file |= {f"features.extras.{index}.{key}": value for key, value in flat.state_dict().items()}
    return file


def vgg_file(model: SSD) -> dict[str, Tensor]:
    """SSD300 on VGG16 as the port names it; only its factor of the input is a number of ours."""
    file = heads(model) | anchors(model) | {"features.init_scale": torch.full((1, 3, 1, 1), 58.0)}
    for name, layer in model.backbone.layers.named_children():
        if isinstance(layer, nn.Conv2d):
            stage = max(i for i, first in enumerate((0, 5, 10, 17, 24, 31)) if first <= int(name))
            number = int(name) - (0, 5, 10, 17, 24, 31)[stage]
            file |= {f"features.stages.{stage}.{number}.{key}": value for key, value in layer.state_dict().items()}
    file["features.stages.0.0.weight"] = file["features.stages.0.0.weight"] / 58.0
    file["features.norm4.normalize_scale"] = model.backbone.first_norm.scale.detach().view(1, -1, 1, 1)
    return file | {f"features.extras.{key}": value for key, value in model.extras.blocks.state_dict().items()}


def fresh(name: str, classes: int) -> SSD:
    """A model of the sheet for so many classes."""
    return build_model(load_spec(name).with_names(tuple(f"class {number + 1}" for number in range(classes))))


def test_the_resnet_with_a_deep_stem_becomes_the_model_that_it_was(tmp_path: Path) -> None:
    model = fresh("ssd512_resnet50_v1s.gluoncv_torch_voc", 2)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.uniform_()
    torch.save(v1s_file(model), tmp_path / "net.pth")
    loaded = load_model(tmp_path / "net.pth")
    assert loaded.spec == model.spec
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())


@pytest.mark.parametrize("dataset", ["voc", "coco"])
def test_the_anchors_tell_which_priors_ones_own_classes_were_trained_with(tmp_path: Path, dataset: str) -> None:
    model = fresh(f"ssd300_vgg16.gluoncv_torch_{dataset}", 3)
    torch.save({f"module.{key}": value for key, value in vgg_file(model).items()}, tmp_path / "net.pth")
    loaded = load_model(tmp_path / "net.pth")
    assert loaded.spec == model.spec
    first = "backbone.layers.0.weight"
    torch.testing.assert_close(loaded.state_dict()[first], model.state_dict()[first])


def test_without_anchors_the_number_of_classes_tells(tmp_path: Path) -> None:
    for classes, dataset in ((20, "voc"), (80, "coco"), (3, "coco")):
        file = vgg_file(fresh("ssd300_vgg16.gluoncv_torch_voc", classes))
        torch.save({key: value for key, value in file.items() if not key.startswith("anchor")}, tmp_path / "net.pth")
        assert load_weights(tmp_path / "net.pth").sheet == f"ssd300_vgg16.gluoncv_torch_{dataset}"


def test_a_key_that_is_missing_or_unknown_is_named(tmp_path: Path) -> None:
    file = vgg_file(fresh("ssd300_vgg16.gluoncv_torch_voc", 2))
    torch.save({**file, "features.surplus": torch.zeros(1)}, tmp_path / "net.pth")
    with pytest.raises(ModelError, match=r"'features\.surplus' is unknown, 1 such"):
        load_model(tmp_path / "net.pth")
    torch.save({key: value for key, value in file.items() if key != "features.stages.3.2.bias"}, tmp_path / "net.pth")
    with pytest.raises(ModelError, match=r"'backbone\.layers\.19\.bias' is missing, 1 such"):
        load_model(tmp_path / "net.pth")


def test_other_networks_of_the_port_are_left_to_other_importers() -> None:
    backbone = {"features.features.0.4.0.body.0.weight": torch.zeros(64, 64, 1, 1)}
    assert gluon_torch.read(Foreign(state=backbone)) is None
    assert gluon_torch.read(Foreign(state={"box_predictors.0.predictor.bias": torch.zeros(16)})) is None
