"""MindCV's SSD (mindspore-lab/mindcv, examples/det/ssd) on MobileNetV2, MobileNetV3 and ResNet-50 FPN -> our keys.

Boxes are coded dy, dx, dh, dw there: rows are reordered. The convolutions of the shared towers have biases in front of
the norms of each level, which take them in.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from multibox.weights.importers.box_rows import x_first
from multibox.weights.importers.contract import Foreign, Imported

_TRAINED = "network."
"""Before all names where the file was saved from the cell that trains or decodes."""
_BACKBONE = "backbone_wrapper."
_HEAD = "multi_box."
_LEAVES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_KINDS = {"loc": "box", "cls": "class"}
_LEVEL_HEADS = {"loc": "boxes", "cls": "classes"}
_LEVEL_LAYERS = {"0": "0.0", "1": "0.1", "3": "1"}
_BOX_PREDICTORS = re.compile(r"head\.(?:boxes\.\d+\.1|box_predictor)\.(?:weight|bias)")
_TOWER_BIAS = re.compile(r"head\.(\w+)\.convs\.(\d+)\.bias")

Rule = tuple[str, Callable[[re.Match[str]], str]]
"""A whole module of theirs as a pattern, and ours for what it matches."""
_GATED = {4, 5, 6, 11, 12, 13, 14, 15}
"""Blocks of MobileNetV3 large with squeeze-and-excitation, which is layer 6 of theirs."""


def _v2_layer(block: int, layer: int) -> str:
    """A layer of an inverted residual, where theirs counts convolutions, norms and activations in one row; the first
    block has no expansion. The projection's norm stands beside it.
    """
    part, inside = divmod(layer, 3)
    place = str(part + inside) if part == (1 if block == 1 else 2) else f"{part}.{inside}"
    return f"backbone.features.{block}.conv.{place}"


def _v3_layer(block: int, layer: int) -> str:
    """The same of MobileNetV3, where the gate is one layer more."""
    part, inside = (3, layer - 7) if block in _GATED and layer > 6 else divmod(layer, 3)
    return f"backbone.features.{block}.block.{part}.{inside}"


_MOBILE_PARTS: tuple[Rule, ...] = (
    (r"feature1_expand_layer(?:\.features)?\.([01])", lambda m: f"extras.first.{m[1]}"),
    (r"multi_residual\.(\d+)\.conv\.([01])\.features\.([01])", lambda m: f"extras.blocks.{m[1]}.{m[2]}.{m[3]}"),
    (r"multi_residual\.(\d+)\.conv\.([23])", lambda m: f"extras.blocks.{m[1]}.2.{int(m[2]) - 2}"),
    (
        r"multi_box\.multi_(loc|cls)_layers\.(\d+)\.([013])",
        lambda m: f"head.{_LEVEL_HEADS[m[1]]}.{m[2]}.{_LEVEL_LAYERS[m[3]]}",
    ),
)
_V2: tuple[Rule, ...] = (
    (r"backbone\.net\.features_([01])", lambda m: f"backbone.features.0.{m[1]}"),
    (r"backbone\.net\.features_(20|21)", lambda m: f"backbone.features.18.{int(m[1]) - 20}"),
    (r"backbone\.net\.features_(\d+)\.layers\.(\d)", lambda m: _v2_layer(int(m[1]) - 2, int(m[2]))),
    *_MOBILE_PARTS,
)
_V3: tuple[Rule, ...] = (
    (r"backbone\.net\.features_([01])", lambda m: f"backbone.features.0.{m[1]}"),
    (r"backbone\.net\.features_(18|19)", lambda m: f"backbone.features.16.{int(m[1]) - 18}"),
    (r"backbone\.net\.features_(\d+)\.layers\.([0-8])", lambda m: _v3_layer(int(m[1]) - 2, int(m[2]))),
    (
        r"backbone\.net\.features_(\d+)\.layers\.6\.conv_(reduce|expand)",
        lambda m: f"backbone.features.{int(m[1]) - 2}.block.2.fc{1 if m[2] == 'reduce' else 2}",
    ),
    *_MOBILE_PARTS,
)
_FPN: tuple[Rule, ...] = (
    (r"backbone\.net\.((?:conv|bn)1)", lambda m: f"backbone.net.{m[1]}"),
    (r"backbone\.net\.(layer[1-4]\.\d+\.(?:conv|bn)[1-3])", lambda m: f"backbone.net.{m[1]}"),
    (r"backbone\.net\.(layer[1-4]\.\d+)\.down_sample\.([01])", lambda m: f"backbone.net.{m[1]}.downsample.{m[2]}"),
    (r"fpn\.lateral_convs_list\.(\d)", lambda m: f"fpn.laterals.{m[1]}"),
    (r"fpn\.fpn_convs_list\.(\d)\.features\.([01])", lambda m: f"fpn.smooths.{m[1]}.{m[2]}"),
    (r"bottom_up\.blocks\.(\d)\.features\.([01])", lambda m: f"fpn.extras.{m[1]}.{m[2]}"),
    (
        r"multi_box\.addition_layer_(loc|cls)\.0\.(\d)\.features\.0",
        lambda m: f"head.{_KINDS[m[1]]}_tower.convs.{m[2]}",
    ),
    (
        r"multi_box\.addition_layer_(loc|cls)\.(\d)\.(\d)\.features\.1",
        lambda m: f"head.{_KINDS[m[1]]}_tower.norms.{m[2]}.{m[3]}",
    ),
    (r"multi_box\.(loc|cls)_layers\.0", lambda m: f"head.{_KINDS[m[1]]}_predictor"),
)
_NETWORKS = {
    "feature1_expand_layer.features.0.weight": ("ssd300_mobilenet_v2.mindcv_coco", _V2),
    "feature1_expand_layer.0.weight": ("ssd300_mobilenet_v3_large.mindcv_coco", _V3),
    "fpn.lateral_convs_list.0.weight": ("ssd640_resnet50_fpn.mindcv_coco", _FPN),
}
"""A tensor that only this network has -> its sheet, whatever the number of classes, and the rules of its modules."""


def read(foreign: Foreign) -> Imported | None:
    """The importer (see `contract`)."""
    modules = {key: key.removeprefix(_TRAINED).removeprefix(_BACKBONE) for key in foreign.state}
    found = next((network for key, network in _NETWORKS.items() if key in modules.values()), None)
    if found is None or not any(name.startswith(_HEAD) for name in modules.values()):
        return None
    sheet, rules = found
    ours: dict[str, Tensor] = {}
    for key, value in foreign.state.items():
        name = _renamed(modules[key], rules) or key
        ours[name] = x_first(value) if _BOX_PREDICTORS.fullmatch(name) else value
        if name.endswith(".running_mean"):
            ours[name.replace("running_mean", "num_batches_tracked")] = torch.zeros((), dtype=torch.int64)
    _fold_biases(ours)
    return Imported(sheet=sheet, state=ours)


def _renamed(key: str, rules: tuple[Rule, ...]) -> str | None:
    """Our key by the first rule that fits its module."""
    module, _, leaf = key.rpartition(".")
    for pattern, ours in rules:
        if match := re.fullmatch(pattern, module):
            return f"{ours(match)}.{_LEAVES.get(leaf, leaf)}"
    return None


def _fold_biases(state: dict[str, Tensor]) -> None:
    """Takes the biases of shared convolutions into the running mean of the norm that each level has behind them."""
    for key in [key for key in state if _TOWER_BIAS.fullmatch(key)]:
        mean = re.compile(_TOWER_BIAS.sub(r"head\\.\1\\.norms\\.\\d+\\.\2\\.running_mean", key))
        bias = state.pop(key)
        state |= {name: value - bias for name, value in state.items() if mean.fullmatch(name)}
