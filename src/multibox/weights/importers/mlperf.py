"""MLPerf's training reference, SSD300 on ResNet-34 (retired_benchmarks/ssd-v1) -> our keys.

It comes from the same code as NVIDIA's (`importers.nvidia`): the same head, but extra blocks without batch norm, and
the trunk's stages grouped in two.
"""

from __future__ import annotations

import re

from multibox.weights.importers.contract import Foreign, Imported
from multibox.weights.importers.nvidia_parts import bare, head, names

_CHILDREN = {"layer1.0": "conv1", "layer1.1": "bn1", "layer1.4": "layer1", "layer1.5": "layer2", "layer2.0": "layer3"}
"""The first group ends with torchvision's second stage; the second group is the third stage."""


def read(foreign: Foreign) -> Imported | None:
    """The importer (see `contract`)."""
    state = bare(foreign.state, "model.layer1.0.weight")
    if state is None:
        return None
    ours = dict(head(key, state) or (_key(key), value) for key, value in state.items())
    return Imported(sheet="ssd300_resnet34.mlperf_coco", state=ours, names=names(foreign.about))


def _key(key: str) -> str:
    """Our key of a tensor of the trunk or of the extra blocks; every other key stays as it is."""
    if found := re.fullmatch(r"model\.(layer[12]\.\d+)\.(.+)", key):
        return f"backbone.net.{_CHILDREN[found[1]]}.{found[2]}" if found[1] in _CHILDREN else key
    return re.sub(r"^additional_blocks\.(\d+\.[02]\.)", r"extras.blocks.\1", key)
