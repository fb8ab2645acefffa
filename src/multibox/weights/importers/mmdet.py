"""mmdetection's SSD300, SSD512 (PISA's too) and SSDLite checkpoints: their keys -> ours, from version 2.0 on.

Their background is the last column of the class predictors; ours is the first. Files from before 2.14 have older key
names, which are brought to the newer ones first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from multibox.errors import ModelError
from multibox.weights.importers.contract import Foreign, Imported

_FIRST_CLASSES, _FIRST_BOXES = "bbox_head.cls_convs.0.", "bbox_head.reg_convs.0."
_LAST_512 = "neck.extra_layers.4.1.conv.weight"
"""Only SSD512 has a fifth extra level."""

_VOC_PRIORS = {21, 602}
"""Columns of models with the priors of the VOC config: VOC and Open Images. All others start from the COCO config."""

_REPEATS = {"1": 1, "2": 2, "3": 3, "4": 4, "5": 3, "6": 3, "7": 1}
"""Blocks in each of mmdetection's `layerN` of MobileNetV2, which torchvision counts through."""
_V2_PARTS = {"expand_conv": "0", "depthwise_conv": "1", "linear_conv": "2"}
_EXTRA_PARTS = {"0": "0", "1.depthwise_conv": "1", "1.pointwise_conv": "2"}
_LAYERS = {"conv": "0", "bn": "1"}
_HEADS = {"cls_convs": "classes", "reg_convs": "boxes"}


def read(foreign: Foreign) -> Imported | None:
    """The importer (see `contract`)."""
    state = {_upgraded(key): value for key, value in foreign.state.items()}
    lite = _FIRST_CLASSES + "1.bias" in state and "backbone.conv1.conv.weight" in state
    if not lite and not (_FIRST_CLASSES + "0.bias" in state and "neck.l2_norm.weight" in state):
        return None
    _refuse_first_generation(foreign.about)
    last = "1" if lite else "0"
    columns = _columns(state, f"{last}.bias")
    rename = _lite_key if lite else _vgg_key
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        classes = re.fullmatch(rf"bbox_head\.cls_convs\.\d+\.{last}\.\w+", key) is not None
        ours[_head_key(key) or rename(key)] = _background_first(value, columns) if classes else value
    return Imported(sheet=_sheet(state, lite, columns), state=ours, names=_names(foreign.about))


def _sheet(state: Mapping[str, Tensor], lite: bool, columns: int) -> str:
    """Full name of the sheet that such tensors belong to."""
    if lite:
        return "ssdlite320_mobilenet_v2.mmdet_coco"
    size = 512 if _LAST_512 in state else 300
    return f"ssd{size}_vgg16.mmdet_{'voc' if columns in _VOC_PRIORS else 'coco'}"


def _columns(state: Mapping[str, Tensor], last: str) -> int:
    """Columns of the logits; the box predictor of the same level tells how many priors a cell has."""
    boxes = state.get(_FIRST_BOXES + last)
    classes = len(state[_FIRST_CLASSES + last])
    shapes = 0 if boxes is None else len(boxes) // 4
    if not shapes or classes % shapes:
        raise ModelError(f"'{_FIRST_CLASSES}{last}' has {classes} rows, which no box predictor of that level explains")
    return classes // shapes


def _background_first(rows: Tensor, columns: int) -> Tensor:
    """Rows of a class predictor, of every shape the last one moved to the first place."""
    if len(rows) % columns:
        raise ModelError(f"a class predictor has {len(rows)} rows, which are no multiple of {columns} columns")
    split = rows.reshape(-1, columns, *rows.shape[1:])
    return torch.cat([split[:, -1:], split[:, :-1]], dim=1).reshape(rows.shape)


def _names(about: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names where the file holds them: `CLASSES` in mmdetection 2, `dataset_meta.classes` in mmdetection 3."""
    meta = about.get("meta")
    if not isinstance(meta, Mapping):
        return ()
    dataset = meta.get("dataset_meta")
    tables = [meta, dataset if isinstance(dataset, Mapping) else {}]
    found = next((table[key] for table in tables for key in ("CLASSES", "classes") if table.get(key)), ())
    return tuple(map(str, found)) if isinstance(found, list | tuple) else ()


def _refuse_first_generation(about: Mapping[str, Any]) -> None:
    """Raises `ModelError` for a file of mmdetection 0 or 1: keys as in 2.0, but other anchors, and background first."""
    meta = about.get("meta")
    version = str(meta.get("mmdet_version", "")) if isinstance(meta, Mapping) else ""
    if version.startswith(("0.", "1.")):
        raise ModelError(
            f"written by mmdetection {version}, whose anchors are rounded to whole pixels; take a file of 2.0 or newer"
        )


def _upgraded(key: str) -> str:
    """A key of a VGG model from before 2.14 as it is since then; every other key as it is."""
    if found := re.fullmatch(r"backbone\.extra\.(\d+)\.(weight|bias)", key):
        number = int(found[1])
        return f"neck.extra_layers.{number // 2}.{number % 2}.conv.{found[2]}"
    if key == "backbone.l2_norm.weight":
        return "neck.l2_norm.weight"
    if found := re.fullmatch(r"(bbox_head\.(?:cls|reg)_convs\.\d+)\.(weight|bias)", key):
        return f"{found[1]}.0.{found[2]}"
    return key


def _head_key(key: str) -> str | None:
    """`bbox_head.cls_convs.0.0.weight` -> `head.classes.0.weight`, SSDLite's `.0.0.bn.bias` -> `.0.0.1.bias`."""
    if found := re.fullmatch(r"bbox_head\.(\w+)\.(\d+)\.0\.(conv|bn)\.(\w+)", key):
        return f"head.{_HEADS[found[1]]}.{found[2]}.0.{_LAYERS[found[3]]}.{found[4]}" if found[1] in _HEADS else None
    found = re.fullmatch(r"bbox_head\.(\w+)\.(\d+)\.(\d)\.(weight|bias)", key)
    if not found or found[1] not in _HEADS:
        return None
    place = "" if found[3] == "0" else f".{found[3]}"
    return f"head.{_HEADS[found[1]]}.{found[2]}{place}.{found[4]}"


def _vgg_key(key: str) -> str:
    """Keys of `SSDVGG` and `SSDNeck`."""
    if key == "neck.l2_norm.weight":
        return "backbone.first_norm.scale"
    if found := re.fullmatch(r"backbone\.features\.(.+)", key):
        return f"backbone.layers.{found[1]}"
    if found := re.fullmatch(r"neck\.extra_layers\.(\d+)\.([01])\.conv\.(.+)", key):
        return f"extras.blocks.{found[1]}.{2 * int(found[2])}.{found[3]}"
    return key


def _lite_key(key: str) -> str:
    """Keys of `MobileNetV2` and of a depthwise `SSDNeck`."""
    if found := re.fullmatch(r"backbone\.conv([12])\.(conv|bn)\.(.+)", key):
        return f"backbone.features.{'0' if found[1] == '1' else '18'}.{_LAYERS[found[2]]}.{found[3]}"
    if found := re.fullmatch(r"backbone\.layer([1-7])\.(\d+)\.(\w+)\.(conv|bn)\.(.+)", key):
        return _v2_key(*found.groups()) or key
    if found := re.fullmatch(r"neck\.extra_layers\.(\d+)\.(0|1\.\w+)\.(conv|bn)\.(.+)", key):
        part = _EXTRA_PARTS.get(found[2])
        return f"extras.blocks.{found[1]}.{part}.{_LAYERS[found[3]]}.{found[4]}" if part else key
    return key


def _v2_key(stage: str, block: str, part: str, layer: str, rest: str) -> str | None:
    """An inverted residual; the first one has no expansion, and the projection's norm stands beside it."""
    if part not in _V2_PARTS:
        return None
    index = 1 + int(block) + sum(repeats for other, repeats in _REPEATS.items() if other < stage)
    place = int(_V2_PARTS[part]) - int(stage == "1")
    inner = str(place + int(layer == "bn")) if part == "linear_conv" else f"{place}.{_LAYERS[layer]}"
    return f"backbone.features.{index}.conv.{inner}.{rest}"
