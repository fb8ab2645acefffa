"""GluonCV's own files of MXNet (`.params`): which preset a file is of, and its tensors under our keys.

Of what GluonCV computes otherwise than torch, our tensors hold: its factor of VGG's input (in the first convolution),
the biases before batch norms (in their running means) and the scale of the added norms, which MXNet leaves at 1.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import torch
from torch import Tensor

from multibox.errors import ModelError
from multibox.weights.importers.contract import Foreign, Imported
from multibox.weights.importers.gluon_parts import Rule, dataset, fold_biases, rename, scale_input
from multibox.weights.importers.gluoncv_keys import BEFORE, MOBILENET, RESNET_V1B, VGG, resnet_v1


class _Network(NamedTuple):
    """One kind of network: a name that it alone has, the rules of its names, and its presets.

    Presets are told by levels, channels of the first convolution and kernel of the predictors.
    """

    name: str
    mark: str
    rules: tuple[Rule, ...]
    presets: dict[tuple[int, int, int], str]


_NETWORKS = (
    _Network(
        "VGG16",
        r"features\.norm4\.scale|.*normalize_scale",
        VGG,
        {(6, 64, 3): "ssd300_vgg16", (7, 64, 3): "ssd512_vgg16"},
    ),
    _Network(
        "ResNet v1 with bottlenecks",
        rf"{BEFORE}resnetv1\d+_stage1_conv9_weight",
        resnet_v1(3, first_stage_projects=True),
        {(6, 64, 3): "ssd512_resnet50_v1"},
    ),
    _Network(
        "ResNet v1",
        rf"{BEFORE}resnetv1\d+_stage1_conv0_weight",
        resnet_v1(2, first_stage_projects=False),
        {(6, 64, 3): "ssd512_resnet18_v1"},
    ),
    _Network(
        "ResNet v1b",
        rf"features\.stage1\.4\.0\.conv1\.weight|{BEFORE}resnetv1b\d+_layers1_conv0_weight",
        RESNET_V1B,
        {(6, 64, 3): "ssd300_resnet34"},
    ),
    _Network(
        "MobileNetV1",
        rf"{BEFORE}mobilenet\d+_conv26_weight",
        MOBILENET,
        {
            (6, 32, 3): "ssd512_mobilenet_v1",
            (6, 32, 1): "ssd300_mobilenet_v1_lite",
            (6, 8, 3): "ssd300_mobilenet_v1_025",
        },
    ),
    _Network("ResNet v2", rf"{BEFORE}resnetv2\d+_conv0_weight", (), {}),
)
_COCO_ALONE = ("ssd300_mobilenet_v1_lite",)
_HEAD = re.compile(rf"class_predictors\.0\.predictor\.weight|{BEFORE}convpredictor0_conv0_weight")
_ANCHORS = re.compile(rf"{BEFORE}(?:anchor_generators\.(\d+)\.anchors|ssdanchorgenerator\d+_anchor_(\d+))")
_INPUT_SCALE = re.compile(rf"{BEFORE}init_scale")
_FIXED = re.compile(r"extras\.blocks\.\d+\.[01]\.1\.weight")
"""Scales of the batch norms of added levels, which MXNet does not use (`fix_gamma`)."""


def read(foreign: Foreign) -> Imported | None:
    """The importer (see `contract`)."""
    given = foreign.state
    if not any(_HEAD.fullmatch(name) for name in given):
        return None
    network = next((network for network in _NETWORKS if _has(given, network.mark)), None)
    if network is None:
        return None
    state, anchors = _renamed(given, network.rules)
    preset = network.presets.get(_traits(state))
    if preset is None:
        raise ModelError(f"is GluonCV's SSD on {network.name}, but of none of its presets that multibox has")
    of = "coco" if preset in _COCO_ALONE else dataset(preset, state, anchors)
    return Imported(sheet=f"{preset}.gluoncv_{of}", state=state)


def _has(given: dict[str, Tensor], mark: str) -> bool:
    """Whether a name fits the pattern."""
    return any(re.fullmatch(mark, name) for name in given)


def _renamed(given: dict[str, Tensor], rules: tuple[Rule, ...]) -> tuple[dict[str, Tensor], Tensor | None]:
    """(the tensors under our keys, the anchors of the finest level)."""
    state: dict[str, Tensor] = {}
    anchors = factor = None
    for name, value in given.items():
        if found := _ANCHORS.fullmatch(name):
            anchors = value if "0" in found.groups() else anchors
        elif _INPUT_SCALE.fullmatch(name):
            factor = value
        else:
            key = rename(name, rules)
            state[key] = torch.ones_like(value) if _FIXED.fullmatch(key) else value
    if "backbone.first_norm.scale" in state:
        state["backbone.first_norm.scale"] = state["backbone.first_norm.scale"].flatten()
    if factor is not None:
        scale_input(state, factor)
    fold_biases(state)
    # torch counts the batches that a norm has seen, MXNet does not
    means = [key for key in state if key.endswith(".running_mean")]
    return state | {key.replace("running_mean", "num_batches_tracked"): torch.tensor(0) for key in means}, anchors


def _traits(state: dict[str, Tensor]) -> tuple[int, int, int]:
    """Levels, channels of the first convolution, kernel of the predictors (0 where there is no such tensor)."""
    levels = sum(key.startswith("head.boxes.") and key.endswith(".bias") for key in state)
    first = next((value.shape[0] for value in state.values() if value.ndim == 4 and value.shape[1] == 3), 0)
    head = state.get("head.classes.0.weight")
    return levels, first, 0 if head is None else head.shape[-1]
