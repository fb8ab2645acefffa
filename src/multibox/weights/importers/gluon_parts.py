"""What GluonCV's SSD and its PyTorch port have in common: their layers under our keys, and which sheet a file is of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from torch import Tensor

Rule = tuple[str, Callable[[re.Match[str]], str]]
"""A whole foreign key as a pattern, and our key for what it matches."""

_VGG_STAGES = (0, 5, 10, 17, 24, 31)
"""Caffe's number of the first layer of each stage; the last holds fc6 and fc7."""

_SECOND_PRIOR = {
    "ssd300_vgg16": {"voc": (30 * 60) ** 0.5, "coco": (21 * 45) ** 0.5},
    "ssd512_resnet50_v1": {"voc": (51.2 * 102.4) ** 0.5, "coco": (51.2 * 133.12) ** 0.5},
}
"""Side in pixels of the second prior of the finest level, where VOC and COCO models of a network differ."""

_BIAS = re.compile(r"(.+)\.conv(\d)\.bias")


def rename(key: str, rules: Iterable[Rule]) -> str:
    """Our key by the first rule that fits; a key that none fits stays as it is."""
    for pattern, ours in rules:
        if found := re.fullmatch(pattern, key):
            return ours(found)
    return key


def vgg_layer(stage: int, layer: int) -> str:
    """A layer of a stage of `vgg16_atrous`, counted with the ReLUs between."""
    return f"backbone.layers.{_VGG_STAGES[stage] + layer}"


def mobilenet_layer(number: int) -> str:
    """The `number`th convolution of MobileNetV1, with its norm beside it."""
    block, pointwise = divmod(number - 1, 2)
    return f"backbone.blocks.{block}.{pointwise}" if number else "backbone.stem"


def scale_input(state: dict[str, Tensor], scale: Tensor) -> None:
    """The first convolution does what multiplying the network's input by one number per colour [1, 3, 1, 1] did."""
    key = "backbone.layers.0.weight"
    if key in state:
        state[key] = state[key] * scale.reshape(1, 3, 1, 1)


def fold_biases(state: dict[str, Tensor]) -> None:
    """Takes the biases of convolutions before a batch norm into its running mean (ResNet v1 has such in its 1x1)."""
    for key in [key for key in state if _BIAS.fullmatch(key)]:
        mean = _BIAS.sub(r"\1.bn\2.running_mean", key)
        if mean in state:
            state[mean] = state[mean] - state.pop(key)


def columns_of(state: dict[str, Tensor]) -> int | None:
    """Columns of the logits, told by the predictors of the finest level; none where there are none."""
    classes, boxes = state.get("head.classes.0.bias"), state.get("head.boxes.0.bias")
    return None if classes is None or boxes is None else 4 * len(classes) // len(boxes)


def dataset(architecture: str, state: dict[str, Tensor], anchors: Tensor | None) -> str:
    """`voc` or `coco`: by the priors [1, 1, h, w, 4 * shapes] that the file holds, where the network has others for
    each, else by the number of classes. GluonCV's presets for one's own classes have the priors of COCO.
    """
    sides = _SECOND_PRIOR.get(architecture)
    if sides and anchors is not None and anchors.ndim == 5 and anchors.shape[-1] >= 8:
        side = anchors[0, 0, 0, 0, 6].item()
        return min(sides, key=lambda name: abs(sides[name] - side))
    return "voc" if columns_of(state) == 21 else "coco"
