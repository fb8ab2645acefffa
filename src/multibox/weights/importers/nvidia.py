"""NVIDIA's SSD300 (DeepLearningExamples, PyTorch, all releases) on ResNet-18, 34, 50, 101 or 152 -> our keys.

The trunk is torchvision's, cut after its third stage and counted in one row; columns (background first) and the scaling
of offsets are ours, the order of the head's channels is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from multibox.errors import ModelError
from multibox.weights.importers.contract import Foreign, Imported
from multibox.weights.importers.nvidia_parts import bare, head, names

_TRUNK = "feature_extractor.feature_extractor"
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3"}
_EXTRA_LAYERS = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1"}
_DEPTHS: dict[tuple[int, ...], int] = {
    (2, 2, 2, False): 18,
    (3, 4, 6, False): 34,
    (3, 4, 6, True): 50,
    (3, 4, 23, True): 101,
    (3, 8, 36, True): 152,
}
"""Blocks of the three stages, and whether they are bottlenecks -> ResNet."""


def read(foreign: Foreign) -> Imported | None:
    """The importer (see `contract`)."""
    state = bare(foreign.state, f"{_TRUNK}.0.weight")
    if state is None:
        return None
    ours = dict(head(key, state) or (_key(key), value) for key, value in state.items())
    return Imported(sheet=f"ssd300_resnet{_depth(state)}.nvidia_coco", state=ours, names=names(foreign.about))


def _key(key: str) -> str:
    """Our key of a tensor of the trunk or of the extra blocks; every other key stays as it is."""
    if found := re.fullmatch(rf"{re.escape(_TRUNK)}\.(\d+)\.(.+)", key):
        return f"backbone.net.{_CHILDREN[found[1]]}.{found[2]}" if found[1] in _CHILDREN else key
    if found := re.fullmatch(r"additional_blocks\.(\d+)\.([0134])\.(\w+)", key):
        return f"extras.blocks.{found[1]}.{_EXTRA_LAYERS[found[2]]}.{found[3]}"
    return key


def _depth(state: Mapping[str, Tensor]) -> int:
    """Which ResNet the trunk is."""
    blocks: dict[str, set[str]] = {stage: set() for stage in "456"}
    for key in state:
        if found := re.match(rf"{re.escape(_TRUNK)}\.([456])\.(\d+)\.", key):
            blocks[found[1]].add(found[2])
    counts = [len(numbers) for numbers in blocks.values()]
    depth = _DEPTHS.get((*counts, f"{_TRUNK}.4.0.conv3.weight" in state))
    if depth is None:
        raise ModelError(
            f"its trunk has stages of {', '.join(map(str, counts))} blocks, which is no ResNet-18, 34, 50, 101 or 152"
        )
    return depth
