"""qfgaohao's pytorch-ssd (github.com/qfgaohao/pytorch-ssd) and its forks that keep the keys: their modules -> ours.

Prior order, column order (background first) and the scaling of offsets are ours too. Its files hold no class names;
trainings on other data than VOC (Open Images) are told by their number of classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from multibox.errors import ModelError
from multibox.weights.importers.contract import Foreign, Imported
from multibox.weights.importers.modules import rename_modules

CLASS_HEADS, BOX_HEADS = "classification_headers", "regression_headers"
LITE_EXTRA = {"0": "0.0", "2.0": "1.0", "2.2": "2.0"}
"""Layers of an extra block without batch norm -> those of ours; the same for the tables below."""
SEPARABLE_BLOCK = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1"}

_HEADS = {CLASS_HEADS: "head.classes", BOX_HEADS: "head.boxes"}
_LEVELS = range(6)
_PREDICTOR = {"": "", ".0": ".0.0", ".1": ".0.1", ".2": ".1", ".3": ".1"}
"""A plain predictor, and a separable one: its 1x1 is number 3 after a batch norm and number 2 without."""
_PLAIN_EXTRA = {"0": "0", "2": "2"}
_INVERTED_EXTRA = {"conv.0": "0.0", "conv.1": "0.1", "conv.3": "1.0", "conv.4": "1.1", "conv.6": "2.0", "conv.7": "2.1"}
_HARD_SWISH_EXTRA = {"conv1": "0.0", "bn1": "0.1", "conv2": "1.0", "bn2": "1.1", "conv3": "2.0", "bn3": "2.1"}
_V2_FIRST = {"conv.0": "conv.0.0", "conv.1": "conv.0.1", "conv.3": "conv.1", "conv.4": "conv.2"}
_V2_BLOCK = {
    "conv.0": "conv.0.0", "conv.1": "conv.0.1", "conv.3": "conv.1.0", "conv.4": "conv.1.1",
    "conv.6": "conv.2", "conv.7": "conv.3",
}  # fmt: skip
_LATE_SQUEEZE_BLOCK = {
    "conv1": "expand.0", "bn1": "expand.1", "conv2": "depthwise.0", "bn2": "depthwise.1",
    "conv3": "project.0", "bn3": "project.1", "shortcut.0": "shortcut.0", "shortcut.1": "shortcut.1",
    "se.se.1": "gate.1.0", "se.se.2": "gate.1.1", "se.se.4": "gate.2.0", "se.se.5": "gate.2.1",
}  # fmt: skip
_FIRE = ("squeeze", "expand1x1", "expand3x3")
_L2_SCALE = "source_layer_add_ons.0.scale"
_L2_INITIAL = 20.0


class Network(NamedTuple):
    """A network: keys that only its files hold, its sheet, and its modules -> ours, but for the heads."""

    marks: tuple[str, ...]
    sheet: str
    modules: Mapping[str, str]


def read(foreign: Foreign) -> Imported | None:
    """The importer (see `contract`)."""
    state = foreign.state
    if not is_family(state):
        return None
    for network in NETWORKS:
        if all(mark in state for mark in network.marks):
            # VGG16 had the paper's L2 normalisation until it got a batch norm in its place
            scaled = {"backbone.first_batch_norm": False, "backbone.l2norm": _L2_INITIAL} if _L2_SCALE in state else {}
            return Imported(sheet=network.sheet, state=translate(state, network.modules), changes=scaled)
    raise ModelError("its keys are those of pytorch-ssd, but its base net is none of VGG16, MobileNet and SqueezeNet")


def is_family(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are those of pytorch-ssd, whatever the network."""
    beginnings = (f"{CLASS_HEADS}.0.", f"{BOX_HEADS}.0.", "base_net.0.")
    return all(any(key.startswith(beginning) for key in state) for beginning in beginnings)


def translate(state: Mapping[str, Tensor], modules: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors under our keys. `modules` leads from the codebase's modules, but for the heads, to ours."""
    return rename_modules(state, {**modules, **_HEAD_MODULES})


def blocks(theirs: Iterable[int], ours: str, first: int, layers: Mapping[str, str]) -> dict[str, str]:
    """Modules of the blocks numbered `theirs` in the base net -> ours, the first of which is `ours.FIRST`."""
    return {
        f"base_net.{number}.{layer}": f"{ours}.{place}.{own}"
        for place, number in enumerate(theirs, start=first)
        for layer, own in layers.items()
    }


def extras(layers: Mapping[str, str], count: int = 4) -> dict[str, str]:
    """Modules of the extra levels -> ours."""
    return {f"extras.{i}.{layer}": f"extras.blocks.{i}.{own}" for i in range(count) for layer, own in layers.items()}


def mobilenet_v1(count: int) -> dict[str, str]:
    """A MobileNetV1 of so many separable blocks."""
    stem = {"base_net.0.0": "backbone.stem.0", "base_net.0.1": "backbone.stem.1"}
    return stem | blocks(range(1, count + 1), "backbone.blocks", 0, SEPARABLE_BLOCK)


def _mobilenet_v2() -> dict[str, str]:
    """Stem and last convolution are counted as torchvision counts them."""
    ends = {f"base_net.{i}.{j}": f"backbone.features.{i}.{j}" for i in (0, 18) for j in (0, 1)}
    first = blocks([1], "backbone.features", 1, _V2_FIRST)
    return ends | first | blocks(range(2, 18), "backbone.features", 2, _V2_BLOCK) | extras(_INVERTED_EXTRA)


def _mobilenet_v3(count: int) -> dict[str, str]:
    """Stem, so many blocks and the last convolution, each but the blocks as three modules in a row."""
    last = count + 3
    ends = {"base_net.0": "backbone.stem.0", "base_net.1": "backbone.stem.1"}
    ends |= {f"base_net.{last + i}": f"backbone.blocks.{count}.{i}" for i in (0, 1)}
    return ends | blocks(range(3, last), "backbone.blocks", 0, _LATE_SQUEEZE_BLOCK) | extras(_HARD_SWISH_EXTRA)


def _squeezenet() -> dict[str, str]:
    """The trunk is counted as torchvision counts it."""
    fires = blocks(range(13), "backbone.features", 0, {part: part for part in _FIRE})
    return {"base_net.0": "backbone.features.0"} | fires | extras(LITE_EXTRA, 5)


def _vgg() -> dict[str, str]:
    """The trunk is counted as ours is; its first map goes through a batch norm, in old files an L2 normalisation."""
    trunk = {f"base_net.{layer}": f"backbone.layers.{layer}" for layer in range(34)}
    first = {"source_layer_add_ons.0": "backbone.first_norm"}
    return trunk | first | extras(_PLAIN_EXTRA)


_HEAD_MODULES = {
    f"{theirs}.{level}{layer}": f"{ours}.{level}{place}"
    for theirs, ours in _HEADS.items()
    for level in _LEVELS
    for layer, place in _PREDICTOR.items()
}
NETWORKS = (
    Network(("base_net.33.weight",), "ssd300_vgg16.qfgaohao_voc", _vgg()),
    Network(
        ("base_net.13.3.weight", "extras.0.2.weight"),
        "ssd300_mobilenet_v1.qfgaohao_voc",
        mobilenet_v1(13) | extras(_PLAIN_EXTRA),
    ),
    Network(
        ("base_net.13.3.weight", "extras.0.2.0.weight"),
        "ssdlite300_mobilenet_v1.qfgaohao_voc",
        mobilenet_v1(13) | extras(LITE_EXTRA),
    ),
    Network(("base_net.14.conv.0.weight",), "ssdlite300_mobilenet_v2.qfgaohao_voc", _mobilenet_v2()),
    Network(("base_net.17.conv1.weight",), "ssdlite300_mobilenet_v3_large.qfgaohao_voc", _mobilenet_v3(15)),
    Network(("base_net.13.conv1.weight",), "ssdlite300_mobilenet_v3_small.qfgaohao_voc", _mobilenet_v3(11)),
    Network(("base_net.12.squeeze.weight",), "ssdlite300_squeezenet.qfgaohao_voc", _squeezenet()),
)
"""Asked in this order; the sheet is the same whatever the number of classes."""
