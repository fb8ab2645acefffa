"""lufficc's SSD (github.com/lufficc/SSD): VGG16, MobileNetV2, MobileNetV3 large and EfficientNet-B3 -> our keys.

Prior order, column order (background first) and the scaling of offsets are ours too. VGG16 files of its fork
(`importers.mobilenext`) have the same keys and are taken for lufficc's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from multibox.weights.importers.contract import Foreign, Imported
from multibox.weights.importers.lufficc_keys import (
    BOX_HEADS,
    CLASS_HEADS,
    extras,
    has_heads,
    is_fork,
    layers,
    length,
    translate,
)

_FIRST_RELEASE = {
    "vgg": "backbone.vgg",
    "l2_norm": "backbone.l2_norm",
    "extras": "backbone.extras",
    "classification_headers": CLASS_HEADS,
    "regression_headers": BOX_HEADS,
}
_VGG_LAYERS, _VGG_EXTRAS = range(34), range(10)
_V3_BLOCKS = range(1, 16)
_VGG_SHAPES = 4
"""Priors per cell of VGG16's first level."""
_COCO_COLUMNS = 81
_B3_STAGES = (2, 3, 3, 5, 5, 6, 2)
"""Blocks of each stage of EfficientNet-B3; lufficc counts them in one row."""
_B3_UNEXPANDED = _B3_STAGES[0]
"""The first blocks, those of the first stage, have no expansion."""
_B3_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
_B3_GATE = {"_depthwise_conv": "conv_dw", "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_B3_PLAIN = _B3_GATE | {"_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_B3_EXPANDED = _B3_GATE | {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"
}  # fmt: skip


def read(foreign: Foreign) -> Imported | None:
    """The importer (see `contract`)."""
    state = _renewed(foreign.state)
    if not has_heads(state) or is_fork(state):
        return None
    if "backbone.l2_norm.weight" in state:
        return Imported(sheet=_vgg_sheet(state), state=translate(state, _vgg_modules()))
    for key, (sheet, modules) in _NETWORKS.items():
        if key in state:
            return Imported(sheet=sheet, state=translate(state, modules(state)))
    return None


def _renewed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The keys of the first release (v1.0, VGG16 alone) as they are since; other files as they are."""
    if not {"l2_norm.weight", "classification_headers.0.weight"} <= state.keys():
        return state
    parts = {key: key.partition(".")[0] for key in state}
    return {_FIRST_RELEASE.get(part, part) + key.removeprefix(part): state[key] for key, part in parts.items()}


def _vgg_sheet(state: dict[str, Tensor]) -> str:
    """SSD512 has two extra convolutions more; other numbers of classes than COCO's get the priors for VOC."""
    size = 512 if "backbone.extras.8.weight" in state else 300
    coco = length(state, f"{CLASS_HEADS}.0.bias") == _VGG_SHAPES * _COCO_COLUMNS
    return f"ssd{size}_vgg16.lufficc_{'coco' if coco else 'voc'}"


def _vgg_modules() -> dict[str, str]:
    """The trunk keeps its numbering; extra convolutions are counted in one row there, in pairs here."""
    trunk = {f"backbone.vgg.{layer}": f"backbone.layers.{layer}" for layer in _VGG_LAYERS}
    row = {f"backbone.extras.{i}": f"extras.blocks.{i // 2}.{i % 2 * 2}" for i in _VGG_EXTRAS}
    return trunk | row | {"backbone.l2_norm.weight": "backbone.first_norm.scale"}


def _v2_modules(state: dict[str, Tensor]) -> dict[str, str]:
    """The trunk has torchvision's keys already."""
    return extras(state, ".conv")


def _v3_modules(state: dict[str, Tensor]) -> dict[str, str]:
    """Stem and last convolution have torchvision's keys already."""
    found = extras(state, ".conv")
    for block in _V3_BLOCKS:
        found |= layers(state, f"backbone.features.{block}.conv", f"backbone.features.{block}.block")
    return found


def _b3_modules(_state: dict[str, Tensor]) -> dict[str, str]:
    """timm counts the blocks by stage; the extra convolutions have our keys but for the prefix."""
    found = {f"backbone.{theirs}": f"backbone.net.{ours}" for theirs, ours in _B3_STEM.items()}
    for number, place in enumerate(_b3_places()):
        names = _B3_PLAIN if number < _B3_UNEXPANDED else _B3_EXPANDED
        found |= {f"backbone._blocks.{number}.{theirs}": f"{place}.{ours}" for theirs, ours in names.items()}
    return found | {f"backbone.extras.{i}.{j}": f"extras.blocks.{i}.{j}" for i in range(3) for j in (0, 2)}


def _b3_places() -> Iterator[str]:
    """timm's name of every block in turn."""
    return (f"backbone.net.blocks.{stage}.{i}" for stage, size in enumerate(_B3_STAGES) for i in range(size))


_NETWORKS: dict[str, tuple[str, Callable[[dict[str, Tensor]], dict[str, str]]]] = {
    "backbone._conv_stem.weight": ("ssd300_efficientnet_b3.lufficc_voc", _b3_modules),
    "backbone.features.2.conv.0.0.weight": ("ssdlite320_mobilenet_v2.lufficc_voc", _v2_modules),
    "backbone.features.4.conv.5.fc.0.weight": ("ssdlite320_mobilenet_v3_large.lufficc_voc", _v3_modules),
}
"""A key that only this network has -> its sheet, whatever the number of classes, and its modules -> ours."""
