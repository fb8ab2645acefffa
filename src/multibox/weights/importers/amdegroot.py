"""amdegroot/ssd.pytorch's SSD300: its keys -> ours; rows, priors and scaling are ours too."""

from __future__ import annotations

import re

from multibox.weights.importers.contract import Foreign, Imported

_HEADS = {"conf": "classes", "loc": "boxes"}
_COCO_ROWS = (4 * 201, 4 * 81)
"""Rows of the first class predictor: its COCO config has 201 columns, of which 81 are ever learnt; people correct that.
Whoever trains own classes starts from its VOC config."""


def read(foreign: Foreign) -> Imported | None:
    """The importer (see `contract`)."""
    state = foreign.state
    if not {"L2Norm.weight", "vgg.0.weight", "conf.0.bias", "loc.0.bias"} <= state.keys():
        return None
    dataset = "coco" if len(state["conf.0.bias"]) in _COCO_ROWS else "voc"
    return Imported(sheet=f"ssd300_vgg16.amdegroot_{dataset}", state={_key(key): value for key, value in state.items()})


def _key(key: str) -> str:
    """Keys of its class `SSD`; the extra convolutions stand in one row there, in pairs with their activation here."""
    if key == "L2Norm.weight":
        return "backbone.first_norm.scale"
    found = re.fullmatch(r"(vgg|extras|loc|conf)\.(\d+)\.(weight|bias)", key)
    if not found:
        return key
    part, number, rest = found[1], int(found[2]), found[3]
    if part == "vgg":
        return f"backbone.layers.{number}.{rest}"
    if part == "extras":
        return f"extras.blocks.{number // 2}.{2 * (number % 2)}.{rest}"
    return f"head.{_HEADS[part]}.{number}.{rest}"
