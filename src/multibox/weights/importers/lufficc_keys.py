"""What checkpoints of lufficc's SSD and of its fork for MobileNeXt share: blocks counted layer by layer, and heads."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from multibox.weights.importers.modules import rename_modules

CLASS_HEADS = "box_head.predictor.cls_headers"
BOX_HEADS = "box_head.predictor.reg_headers"

_SEPARABLE = {".conv.0": ".0.0", ".conv.1": ".0.1", ".conv.3": ".1", "": ""}
"""Layers of a level's predictor; a plain one, all of VGG16's and the last of the others, is one convolution."""
_MOST_LEVELS = 7
_EXTRAS = 4
_SECOND_EXTRA = "backbone.extras.1.conv.0.0.weight"
_FORK_HIDDEN = 256
"""Channels in the middle of MobileNetV2's second extra block in the fork; lufficc has 128."""


def translate(state: Mapping[str, Tensor], modules: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors under our keys. `modules` leads from the codebase's modules, but for the heads, to ours.

    The matrices of squeeze-and-excitation become 1x1 convolutions.
    """
    ours = rename_modules(state, {**modules, **_heads()})
    return {key: value[..., None, None] if value.ndim == 2 else value for key, value in ours.items()}


def has_heads(state: Mapping[str, Tensor]) -> bool:
    """Whether the file holds predictors as only these two codebases name them."""
    return any(key.startswith(f"{CLASS_HEADS}.0.") for key in state)


def is_fork(state: Mapping[str, Tensor]) -> bool:
    """Whether the network is one that the fork alone has: MobileNeXt, or MobileNetV2 with its wider extras."""
    return "backbone.features.20.conv.0.weight" in state or length(state, _SECOND_EXTRA) == _FORK_HIDDEN


def extras(state: Mapping[str, Tensor], inside: str = "") -> dict[str, str]:
    """Modules of the extra levels after a mobile backbone -> ours; `inside` is where a block keeps its layers."""
    found: dict[str, str] = {}
    for block in range(_EXTRAS):
        found |= layers(state, f"backbone.extras.{block}{inside}", f"extras.blocks.{block}")
    return found


def _heads() -> dict[str, str]:
    """Modules of the predictors -> ours."""
    kinds = {CLASS_HEADS: "head.classes", BOX_HEADS: "head.boxes"}
    return {
        f"{theirs}.{level}{layer}": f"{ours}.{level}{place}"
        for theirs, ours in kinds.items()
        for level in range(_MOST_LEVELS)
        for layer, place in _SEPARABLE.items()
    }


def layers(state: Mapping[str, Tensor], theirs: str, ours: str) -> dict[str, str]:
    """Modules of the block `theirs`, which counts its convolutions, norms and activations in one row -> those of ours.

    Ours counts layers, one for each convolution: 0 is the convolution in it, 1 its norm, 2 its squeeze-and-excitation.
    """
    names = {key.rpartition(".")[0] for key in state if key.startswith(f"{theirs}.")}
    found: dict[str, str] = {}
    layer = -1
    for name in sorted(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)]):
        weight = state.get(f"{name}.weight")
        if weight is None:
            continue
        layer += weight.ndim == 4
        squeeze = re.search(r"\.fc\.([02])$", name)
        place = f"2.fc{1 + int(squeeze[1]) // 2}" if squeeze else "0" if weight.ndim == 4 else "1"
        found[name] = f"{ours}.{layer}.{place}"
    return found


def length(state: Mapping[str, Tensor], key: str) -> int:
    """First side of the tensor `key`, 0 where the file does not hold it."""
    return len(state[key]) if key in state else 0
