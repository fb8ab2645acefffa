"""The fork of lufficc's SSD for MobileNeXt (github.com/houqb/ssdlite-pytorch-mobilenext): its keys -> ours.

Its models for COCO give no background column: sigmoid scores of 81 columns, of which the last is never a class. They
are told from those for VOC (softmax, background first) by the last level, which has four priors per cell instead of
six. The fork's VGG16 files cannot be told from lufficc's and are read as those, without the fork's division of the
input by a standard deviation.
"""

from __future__ import annotations

from torch import Tensor

from multibox.weights.importers.contract import Foreign, Imported
from multibox.weights.importers.lufficc_keys import BOX_HEADS, extras, has_heads, is_fork, layers, length, translate

_BLOCKS = range(1, 21)
_LAST_BOXES = f"{BOX_HEADS}.5.bias"
_COCO_SHAPES = 4
"""Priors per cell of the last level in models for COCO."""


def read(foreign: Foreign) -> Imported | None:
    """The importer (see `contract`)."""
    state = foreign.state
    if not has_heads(state) or not is_fork(state):
        return None
    dataset = "coco" if length(state, _LAST_BOXES) == 4 * _COCO_SHAPES else "voc"
    if "backbone.features.20.conv.0.weight" in state:
        return Imported(sheet=f"ssdlite320_mobilenext.mobilenext_{dataset}", state=translate(state, _modules(state)))
    sheet = f"ssdlite320_mobilenet_v2.mobilenext_{dataset}"
    return Imported(sheet=sheet, state=translate(state, extras(state, ".conv")))


def _modules(state: dict[str, Tensor]) -> dict[str, str]:
    """Sandglass blocks and extra levels count convolutions, norms and activations in one row."""
    found = extras(state)
    for block in _BLOCKS:
        found |= layers(state, f"backbone.features.{block}.conv", f"backbone.features.{block}.layers")
    return found
