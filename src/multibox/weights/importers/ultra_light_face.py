"""The Ultra-Light face detector (github.com/Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB), built on pytorch-ssd.

Files for 320x240 and for 640x480 pixels have equal keys and shapes; they are taken for 320x240 unless told otherwise.
"""

from __future__ import annotations

from multibox.weights.importers.contract import Foreign, Imported
from multibox.weights.importers.qfgaohao import LITE_EXTRA, Network, extras, is_family, mobilenet_v1, translate

_BLOCKS, _FIELD = 12, 7
"""Separable blocks, and the number of the one whose place the receptive field block takes."""
_BRANCH_LAYERS = (3, 3, 4)


def read(foreign: Foreign) -> Imported | None:
    """The importer (see `contract`); it is asked before that of `qfgaohao`."""
    state = foreign.state
    if not is_family(state):
        return None
    for network in NETWORKS:
        if all(mark in state for mark in network.marks) and "base_net.13.0.weight" not in state:
            return Imported(sheet=network.sheet, state=translate(state, network.modules))
    return None


def _receptive_field() -> dict[str, str]:
    """Modules of the receptive field block -> ours."""
    layers = {
        f"branch{branch}.{layer}": f"branches.{branch}.{layer}"
        for branch, count in enumerate(_BRANCH_LAYERS)
        for layer in range(count)
    } | {"ConvLinear": "join", "shortcut": "shortcut"}
    theirs, ours = f"base_net.{_FIELD}", f"backbone.blocks.{_FIELD - 1}"
    kinds = {"conv": "0", "bn": "1"}
    return {f"{theirs}.{a}.{kind}": f"{ours}.{b}.{own}" for a, b in layers.items() for kind, own in kinds.items()}


_SLIM = mobilenet_v1(_BLOCKS) | extras(LITE_EXTRA, 1)
NETWORKS = (
    Network(
        ("base_net.12.3.weight", "base_net.7.branch0.0.conv.weight"),
        "ssdlite320x240_rfb.ultra_light_face",
        _SLIM | _receptive_field(),
    ),
    Network(("base_net.12.3.weight", "base_net.7.3.weight"), "ssdlite320x240_slim.ultra_light_face", _SLIM),
)
