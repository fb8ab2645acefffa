"""Checkpoints of the PyTorch port of GluonCV's SSD (pytorch-cv): their keys -> ours.

The port multiplies the input of VGG by `features.init_scale`; here the first convolution holds that. The anchors in a
file only tell which preset it is of.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from torch import Tensor

from multibox.weights.importers.contract import Foreign, Imported
from multibox.weights.importers.gluon_parts import (
    Rule,
    dataset,
    fold_biases,
    mobilenet_layer,
    rename,
    scale_input,
    vgg_layer,
)

_PART = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_MOBILENET_CUT = 23
"""Convolutions before the first tap, which ends the first of the port's two halves of a backbone."""

_HEADS: tuple[Rule, ...] = (
    (rf"class_predictors\.(\d+)\.predictor\.{_PART}", lambda m: f"head.classes.{m[1]}.{m[2]}"),
    (rf"box_predictors\.(\d+)\.predictor\.{_PART}", lambda m: f"head.boxes.{m[1]}.{m[2]}"),
)
_EXTRAS: tuple[Rule, ...] = (
    (rf"features\.extras\.(\d+)\.([01])\.{_PART}", lambda m: f"extras.blocks.{m[1]}.0.{m[2]}.{m[3]}"),
    (rf"features\.extras\.(\d+)\.([34])\.{_PART}", lambda m: f"extras.blocks.{m[1]}.1.{int(m[2]) - 3}.{m[3]}"),
)
_VGG: tuple[Rule, ...] = (
    (r"features\.norm4\.normalize_scale", lambda m: "backbone.first_norm.scale"),
    (rf"features\.stages\.(\d)\.(\d)\.{_PART}", lambda m: f"{vgg_layer(int(m[1]), int(m[2]))}.{m[3]}"),
    (rf"features\.extras\.(\d+)\.(\d)\.{_PART}", lambda m: f"extras.blocks.{m[1]}.{m[2]}.{m[3]}"),
)
_MOBILENET: tuple[Rule, ...] = (
    (rf"features\.features\.([01])\.(\d+)\.{_PART}", lambda m: f"{_mobilenet_place(m[1], m[2])}.{m[3]}"),
    *_EXTRAS,
)
_BODY = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2", "6": "conv3", "7": "bn3"}
_STEM = {"0": "conv1", "1": "bn1"}
_DEEP_STEM = {"0": "conv1.0", "1": "conv1.1", "3": "conv1.3", "4": "conv1.4", "6": "conv1.6", "7": "bn1"}


def _mobilenet_place(half: str, index: str) -> str:
    """A convolution, norm or ReLU of the port's flat list -> our layer."""
    number, layer = divmod(int(index), 3)
    return f"{mobilenet_layer(number + _MOBILENET_CUT * int(half))}.{layer}"


def _resnet(stem: dict[str, str], first: int) -> tuple[Rule, ...]:
    """The rules of a ResNet whose first stage is child `first` of the first half; the blocks of its third stage lie
    flat behind the second one, and those of the fourth are the second half.
    """
    block = rf"((?:body\.|conv|bn|downsample\.)\d)\.{_PART}"
    return (
        (rf"features\.features\.0\.({'|'.join(stem)})\.{_PART}", lambda m: f"backbone.net.{stem[m[1]]}.{m[2]}"),
        (
            rf"features\.features\.0\.({first}|{first + 1})\.(\d+)\.{block}",
            lambda m: f"backbone.net.layer{int(m[1]) - first + 1}.{m[2]}.{_layer(m[3])}.{m[4]}",
        ),
        (
            rf"features\.features\.0\.(\d+)\.{block}",
            lambda m: f"backbone.net.layer3.{int(m[1]) - first - 2}.{_layer(m[2])}.{m[3]}",
        ),
        (
            rf"features\.features\.1\.(\d+)\.{block}",
            lambda m: f"backbone.net.layer4.{m[1]}.{_layer(m[2])}.{m[3]}",
        ),
        *_EXTRAS,
    )


def _layer(name: str) -> str:
    """A layer of a block: `body.3` of v1 is `conv2`, others keep their names."""
    kind, _, number = name.partition(".")
    return _BODY.get(number, name) if kind == "body" else name


class _Network(NamedTuple):
    """One kind of network: a key that it alone has, the rules of its keys, and its architectures by their levels."""

    mark: str
    rules: tuple[Rule, ...]
    architectures: dict[int, str]


_NETWORKS = (
    _Network("features.norm4.normalize_scale", _VGG, {6: "ssd300_vgg16", 7: "ssd512_vgg16"}),
    _Network("features.features.0.4.0.body.0.weight", _resnet(_STEM, 4), {6: "ssd512_resnet50_v1"}),
    _Network("features.features.0.10.0.conv1.weight", _resnet(_DEEP_STEM, 10), {6: "ssd512_resnet50_v1s"}),
    _Network("features.features.0.66.weight", _MOBILENET, {6: "ssd512_mobilenet_v1"}),
)
_ANCHORS = re.compile(r"anchor_generators\.\d+\.anchor")
_VOC_ALONE = ("ssd512_resnet50_v1s",)


def read(foreign: Foreign) -> Imported | None:
    """The importer (see `contract`)."""
    given = foreign.state
    levels = sum(key.startswith("box_predictors.") and key.endswith(".predictor.bias") for key in given)
    network = next((network for network in _NETWORKS if network.mark in given), None)
    if network is None or levels not in network.architectures:
        return None
    architecture = network.architectures[levels]
    state = _renamed(given, network.rules)
    of = "voc" if architecture in _VOC_ALONE else dataset(architecture, state, given.get("anchor_generators.0.anchor"))
    return Imported(sheet=f"{architecture}.gluoncv_torch_{of}", state=state)


def _renamed(given: dict[str, Tensor], rules: tuple[Rule, ...]) -> dict[str, Tensor]:
    """The tensors under our keys, without what our network does not hold as a tensor."""
    kept = {key: value for key, value in given.items() if not _ANCHORS.fullmatch(key) and key != "features.init_scale"}
    state = {rename(key, (*_HEADS, *rules)): value for key, value in kept.items()}
    if "backbone.first_norm.scale" in state:
        state["backbone.first_norm.scale"] = state["backbone.first_norm.scale"].flatten()
    if "features.init_scale" in given:
        scale_input(state, given["features.init_scale"])
    fold_biases(state)
    return state
