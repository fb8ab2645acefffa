"""torchvision's SSD300 and SSDLite checkpoints (`torchvision.models.detection`): their keys -> ours.

Values need no change: prior order, column order (background first) and offset scaling are ours too.
"""

from __future__ import annotations

import re

from torch import Tensor

from multibox.weights.importers.contract import Foreign, Imported

_HEADS = {"classification_head": "classes", "regression_head": "boxes"}
# place in torchvision's "extra.0", which holds pool4 to fc7, -> Caffe's number of the layer
_AFTER_CONV4 = {"1": 24, "3": 26, "5": 28, "7.1": 31, "7.3": 33}
_FULL_TAIL = 960
"""Channels of the last map where the backbone started from ImageNet weights; from scratch torchvision halves them."""
_LAST = 13
"""The block of MobileNetV3 large whose expansion is tapped; torchvision cuts the network there."""


def read(foreign: Foreign) -> Imported | None:
    """The importer (see `contract`)."""
    state = foreign.state
    sheet = _recognise(state)
    if sheet is None:
        return None
    rename = _vgg_key if "backbone.scale_weight" in state else _mobilenet_key
    return Imported(sheet=sheet, state={_head_key(key) or rename(key): value for key, value in state.items()})


def _recognise(state: dict[str, Tensor]) -> str | None:
    """Full name of the sheet that such keys belong to, or none."""
    if "head.classification_head.module_list.0.weight" in state and "backbone.scale_weight" in state:
        return "ssd300_vgg16.torchvision_coco"
    if "head.classification_head.module_list.0.0.0.weight" in state and "backbone.features.0.13.0.weight" in state:
        last = state.get("backbone.features.1.3.0.weight")
        full = last is not None and last.shape[0] == _FULL_TAIL
        return f"ssdlite320_mobilenet_v3_large.torchvision_{'full_tail' if full else 'coco'}"
    return None


def _head_key(key: str) -> str | None:
    """`head.classification_head.module_list.0.weight` -> `head.classes.0.weight`."""
    found = re.fullmatch(r"head\.(\w+)\.module_list\.(.+)", key)
    return f"head.{_HEADS[found[1]]}.{found[2]}" if found and found[1] in _HEADS else None


def _vgg_key(key: str) -> str:
    """Keys of `SSDFeatureExtractorVGG`."""
    if key == "backbone.scale_weight":
        return "backbone.first_norm.scale"
    if found := re.fullmatch(r"backbone\.features\.(.+)", key):
        return f"backbone.layers.{found[1]}"
    if (found := re.fullmatch(r"backbone\.extra\.0\.([\d.]+)\.(weight|bias)", key)) and found[1] in _AFTER_CONV4:
        return f"backbone.layers.{_AFTER_CONV4[found[1]]}.{found[2]}"
    if found := re.fullmatch(r"backbone\.extra\.([1-9]\d*)\.(.+)", key):
        return f"extras.blocks.{int(found[1]) - 1}.{found[2]}"
    return key


def _mobilenet_key(key: str) -> str:
    """Keys of `SSDLiteFeatureExtractorMobileNet`, which cuts the block at the tap in two."""
    if found := re.fullmatch(rf"backbone\.features\.0\.{_LAST}\.(.+)", key):
        return f"backbone.features.{_LAST}.block.0.{found[1]}"
    if found := re.fullmatch(r"backbone\.features\.0\.(.+)", key):
        return f"backbone.features.{found[1]}"
    if found := re.fullmatch(r"backbone\.features\.1\.0\.(.+)", key):
        return f"backbone.features.{_LAST}.block.{found[1]}"
    if found := re.fullmatch(r"backbone\.features\.1\.(\d+)\.(.+)", key):
        return f"backbone.features.{_LAST + int(found[1])}.{found[2]}"
    if found := re.fullmatch(r"backbone\.extra\.(.+)", key):
        return f"extras.blocks.{found[1]}"
    return key
