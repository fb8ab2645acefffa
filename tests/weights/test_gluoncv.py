"""GluonCV's files: every preset, under the names that MXNet gives its parameters, becomes the model that it was.

The names are written down here a second time, by the order in which GluonCV builds its layers; no file that GluonCV
published was at hand.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from multibox.boxes.priors import shapes_per_cell
from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.weights.importers import gluoncv
from multibox.weights.importers.contract import Foreign
from multibox.weights.source import load_weights
from multibox.zoo import load_spec
from multibox.zoo.models import load_model
from mxnet_files import write_params

PRESETS = {
    "saved": [
        "ssd300_vgg16.gluoncv_voc",
        "ssd300_vgg16.gluoncv_coco",
        "ssd512_vgg16.gluoncv_coco",
        "ssd512_resnet50_v1.gluoncv_voc",
        "ssd512_resnet50_v1.gluoncv_coco",
        "ssd512_resnet18_v1.gluoncv_coco",
        "ssd512_mobilenet_v1.gluoncv_coco",
        "ssd300_resnet34.gluoncv_coco",
        "ssd300_mobilenet_v1_025.gluoncv_coco",
        "ssd300_mobilenet_v1_lite.gluoncv_coco",
    ],
    "symbol": [
        "ssd300_vgg16.gluoncv_voc",
        "ssd512_resnet50_v1.gluoncv_coco",
        "ssd512_resnet18_v1.gluoncv_coco",
        "ssd300_resnet34.gluoncv_coco",
        "ssd300_mobilenet_v1_lite.gluoncv_coco",
    ],
}
"""By the style of the names; a symbol's need one preset of each kind of network."""
SCALE = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1) * 255
Named = Iterator[tuple[str, str]]
"""(Our layer, its name in a saved file or in the symbol)."""


def saved(model: SSD) -> Named:
    """The names of `save_parameters`."""
    kind = model.spec.backbone.name
    if kind == "vgg16_atrous":
        yield from vgg(model)
    elif kind == "timm/resnet34":
        yield from resnet34(model)
    else:
        trunk = mobilenet(model) if kind == "mobilenet_v1" else resnet(model)
        yield from ((ours, f"features.{theirs}") for ours, theirs in trunk)
        yield from ((ours, f"features.{theirs}") for ours, theirs in expander(model))
    for level in range(len(model.level_sizes)):
        yield f"head.classes.{level}", f"class_predictors.{level}.predictor."
        yield f"head.boxes.{level}", f"box_predictors.{level}.predictor."


def symbol(model: SSD) -> Named:
    """The names of an exported symbol, as of the third network that a process built."""
    kind = model.spec.backbone.name
    if kind == "vgg16_atrous":
        yield from vgg_symbol(model)
    elif kind == "timm/resnet34":
        yield from resnet34_symbol(model)
    else:
        trunk = mobilenet(model) if kind == "mobilenet_v1" else resnet(model)
        yield from ((ours, f"ssd2_{theirs}") for ours, theirs in [*trunk, *expander(model)])
    for level in range(len(model.level_sizes)):
        yield f"head.classes.{level}", f"ssd2_convpredictor{2 * level}_conv0_"
        yield f"head.boxes.{level}", f"ssd2_convpredictor{2 * level + 1}_conv0_"


def vgg(model: SSD) -> Named:
    numbers = iter(index for index, layer in enumerate(model.backbone.layers) if isinstance(layer, nn.Conv2d))
    for stage, count in enumerate((2, 2, 3, 3, 3, 2)):
        for i in range(count):
            yield f"backbone.layers.{next(numbers)}", f"features.stages.{stage}.{2 * i}."
    for block in range(len(model.extras.blocks)):
        yield f"extras.blocks.{block}.0", f"features.extras.{block}.0."
        yield f"extras.blocks.{block}.2", f"features.extras.{block}.2."
    yield "backbone.first_norm", "features.norm4."


def vgg_symbol(model: SSD) -> Named:
    numbers = [index for index, layer in enumerate(model.backbone.layers) if isinstance(layer, nn.Conv2d)]
    lead = "ssd2_vggatrousextractor0_"
    yield from ((f"backbone.layers.{number}", f"{lead}conv{i}_") for i, number in enumerate(numbers[:13]))
    yield from ((f"backbone.layers.{number}", f"{lead}dilated_conv{i}_") for i, number in enumerate(numbers[13:]))
    for block in range(len(model.extras.blocks)):
        yield f"extras.blocks.{block}.0", f"{lead}extra{block}_conv0_"
        yield f"extras.blocks.{block}.2", f"{lead}extra{block}_conv1_"
    yield "backbone.first_norm", f"{lead}normalize0_normalize_"


def resnet(model: SSD) -> Named:
    net = model.backbone.net
    yield "backbone.net.conv1", "resnetv12_conv0_"
    yield "backbone.net.bn1", "resnetv12_batchnorm0_"
    for stage in range(1, 5):
        number = 0
        for index, block in enumerate(getattr(net, f"layer{stage}")):
            pairs = [(f"conv{i}", f"bn{i}") for i in (1, 2, 3) if hasattr(block, f"conv{i}")]
            pairs += [("downsample.0", "downsample.1")] if block.downsample is not None else []
            for conv, norm in pairs:
                yield f"backbone.net.layer{stage}.{index}.{conv}", f"resnetv12_stage{stage}_conv{number}_"
                yield f"backbone.net.layer{stage}.{index}.{norm}", f"resnetv12_stage{stage}_batchnorm{number}_"
                number += 1


def resnet34(model: SSD) -> Named:
    places = {"conv1": "stage1.0", "bn1": "stage1.1", "layer1": "stage1.4", "layer2": "stage1.5"}
    places |= {"layer3": "stage2.0", "layer4": "stage2.1"}
    for name, layer in model.backbone.net.named_modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            first, _, rest = name.partition(".")
            yield f"backbone.net.{name}", f"features.{places[first]}.{rest + '.' if rest else ''}"
    for block in range(4):
        yield f"extras.blocks.{block}.0", f"features.more_stages.{block}.0."
        yield f"extras.blocks.{block}.2", f"features.more_stages.{block}.2."


def resnet34_symbol(model: SSD) -> Named:
    lead = "ssd2_resnetv1b0_"
    yield from (("backbone.net.conv1", f"{lead}conv0_"), ("backbone.net.bn1", f"{lead}batchnorm0_"))
    for stage in range(1, 5):
        for index, block in enumerate(getattr(model.backbone.net, f"layer{stage}")):
            ours = f"backbone.net.layer{stage}.{index}"
            for i in (0, 1):
                yield f"{ours}.conv{i + 1}", f"{lead}layers{stage}_conv{2 * index + i}_"
                yield f"{ours}.bn{i + 1}", f"{lead}layers{stage}_batchnorm{2 * index + i}_"
            if block.downsample is not None:
                yield f"{ours}.downsample.0", f"{lead}down{stage}_conv0_"
                yield f"{ours}.downsample.1", f"{lead}down{stage}_batchnorm0_"
    yield from (
        (f"extras.blocks.{number // 2}.{number % 2 * 2}", f"ssd2_resnetv1bssd0_conv{number}_") for number in range(8)
    )


def mobilenet(model: SSD) -> Named:
    layers = ["stem", *(f"blocks.{block}.{part}" for block in range(13) for part in (0, 1))]
    for number, layer in enumerate(layers):
        yield f"backbone.{layer}.0", f"mobilenet2_conv{number}_"
        yield f"backbone.{layer}.1", f"mobilenet2_batchnorm{number}_"


def expander(model: SSD) -> Named:
    for block in range(4):
        for part, word in enumerate(("expand_trans_", "expand_")):
            yield f"extras.blocks.{block}.{part}.0", f"{word}conv{block}_"
            yield f"extras.blocks.{block}.{part}.1", f"{word}bn{block}_"


def file_of(model: SSD, style: str) -> dict[str, np.ndarray]:
    """The model's tensors as GluonCV's file holds them, with what it holds and we do not."""
    names = dict(saved(model) if style == "saved" else symbol(model))
    file: dict[str, np.ndarray] = {}
    for key, value in model.state_dict().items():
        layer, _, part = key.rpartition(".")
        if part != "num_batches_tracked":
            file[names[layer] + word(names, layer, part, model)] = value.numpy().copy()
    add_constants(file, names, model)
    for layer in names:
        if layer.startswith("extras") and f"{layer}.running_mean" in model.state_dict():
            file[f"{names[layer]}gamma"][:] = 7.0  # it is stored, but MXNet computes with 1
        if "ssd512_resnet50" in model.spec.name and layer[-5:] in ("conv1", "conv3") and "layer" in layer:
            bias = np.linspace(-1, 1, len(file[f"{names[layer]}weight"]), dtype=np.float32)
            file[f"{names[layer]}bias"] = bias
            file[f"{names[layer.replace('conv', 'bn')]}running_mean"] += bias
    lead = {"saved": "", "symbol": "arg:"}[style]
    return {
        (lead.replace("arg", "aux") if "_mean" in name or "_var" in name else lead) + name: value
        for name, value in file.items()
    }


def word(names: dict[str, str], layer: str, part: str, model: SSD) -> str:
    """MXNet's word for a part of a layer."""
    if f"{layer}.running_mean" not in model.state_dict():
        return part
    if part.startswith("running") and "expand" in names[layer]:
        return part.replace("running", "moving")
    return {"weight": "gamma", "bias": "beta"}.get(part, part)


def add_constants(file: dict[str, np.ndarray], names: dict[str, str], model: SSD) -> None:
    """What GluonCV saves besides: the factor of VGG's input, and the anchors as maps that are larger than needed."""
    is_symbol = names["head.classes.0"].startswith("ssd2")
    if model.spec.backbone.name == "vgg16_atrous":
        file[f"{names['backbone.layers.0']}weight"] /= SCALE
        scale = names["backbone.first_norm"] + "scale"
        file[scale] = file[scale].reshape(1, -1, 1, 1)
        file["ssd2_vggatrousextractor0_init_scale" if is_symbol else "features.init_scale"] = SCALE
    size = model.spec.input.width
    start = 0
    for level, (count, spec) in enumerate(zip(model.level_sizes, model.spec.priors.levels, strict=True)):
        cell = (model.priors[start : start + shapes_per_cell(spec)] * size).reshape(1, 1, 1, 1, -1)
        name = f"ssd2_ssdanchorgenerator{level}_anchor_{level}" if is_symbol else f"anchor_generators.{level}.anchors"
        file[name] = cell.expand(1, 1, 4, 4, -1).numpy()
        start += count


def trained(name: str, classes: int = 2) -> SSD:
    """A model of the sheet in which every tensor holds other numbers."""
    spec = load_spec(name).with_names(tuple(f"class {number + 1}" for number in range(classes)))
    model = build_model(spec).eval()
    generator = torch.Generator().manual_seed(0)
    for key, value in model.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        value.copy_(torch.rand(value.shape, generator=generator) + 0.1)
        if key.startswith("extras") and f"{key.removesuffix('weight')}running_mean" in model.state_dict():
            value.fill_(1.0) if key.endswith("weight") else None
    return model


def presets() -> list[Any]:
    """(style, name) of all; in the quick suite those of COCO with 300 pixels do, in the style of today."""
    quick = {("saved", name) for name in PRESETS["saved"] if name.startswith("ssd300") and name.endswith("coco")}
    every = [(style, name) for style, names in PRESETS.items() for name in names]
    return [pytest.param(*each, marks=[] if each in quick else pytest.mark.slow) for each in every]


@pytest.mark.parametrize(("style", "name"), presets())
def test_a_file_of_every_preset_becomes_the_model_that_it_was(tmp_path: Path, style: str, name: str) -> None:
    model = trained(name)
    loaded = load_model(write_params(tmp_path / "net.params", file_of(model, style)))
    assert loaded.spec == model.spec
    state = loaded.state_dict()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=1e-6, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}")


def test_the_archive_that_gluoncv_publishes_becomes_the_same_model(tmp_path: Path) -> None:
    model = trained("ssd300_mobilenet_v1_025.gluoncv_coco")
    file = write_params(tmp_path / "net-0123abcd.params", file_of(model, "saved"))
    with zipfile.ZipFile(tmp_path / "net-0123abcd.zip", "w") as archive:
        archive.write(file, file.name)
    assert load_weights(tmp_path / "net-0123abcd.zip").sheet == model.spec.name


def test_without_anchors_the_number_of_classes_tells_the_dataset(tmp_path: Path) -> None:
    for classes, dataset in ((20, "voc"), (80, "coco"), (3, "coco")):
        file = file_of(trained("ssd300_mobilenet_v1_025.gluoncv_voc", classes), "saved")
        file = {name: value for name, value in file.items() if not name.startswith("anchor")}
        loaded = load_weights(write_params(tmp_path / "net.params", file))
        assert loaded.sheet == f"ssd300_mobilenet_v1_025.gluoncv_{dataset}"


def test_a_preset_that_we_do_not_have_is_one_sentence(tmp_path: Path) -> None:
    head = {"class_predictors.0.predictor.weight": np.zeros((84, 256, 3, 3), np.float32)}
    v2 = head | {"features.resnetv20_conv0_weight": np.zeros((64, 3, 7, 7), np.float32)}
    half = head | {f"features.mobilenet0_conv{n}_weight": np.zeros((16, 3, 3, 3), np.float32) for n in (0, 26)}
    for file, words in ((v2, "SSD on ResNet v2"), (half, "SSD on MobileNetV1")):
        with pytest.raises(ModelError, match=rf"net\.params: is GluonCV's {words}, but of none of its presets"):
            load_weights(write_params(tmp_path / "net.params", file))


def test_a_name_that_is_not_known_is_told(tmp_path: Path) -> None:
    file = file_of(trained("ssd300_mobilenet_v1_025.gluoncv_coco"), "saved")
    file["features.surplus_weight"] = np.zeros(1, np.float32)
    with pytest.raises(ModelError, match=r"'features\.surplus_weight' is unknown, 1 such"):
        load_model(write_params(tmp_path / "net.params", file))


@pytest.mark.parametrize("name", ["class_predictors.0.predictor.weight", "features.resnetv10_stage1_conv0_weight"])
def test_other_networks_of_gluon_are_left_to_other_importers(name: str) -> None:
    assert gluoncv.read(Foreign(state={name: torch.zeros(1, 1, 1, 1)}, about={"format": "mxnet"})) is None
