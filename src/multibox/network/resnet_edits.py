"""Where the ResNets of some detectors halve their maps otherwise than timm's: edits of a timm ResNet in place."""

from __future__ import annotations

from typing import Any

from timm.layers import create_pool2d
from torch import nn

from multibox.errors import ModelError
from multibox.spec import BackboneSpec


def edit_resnet(net: Any, spec: BackboneSpec) -> None:
    """Moves or removes strides and pads the pooling of `net` as `spec` says; weights keep their keys and shapes.

    Raises `ModelError` where the network is no ResNet or has no such stage.
    """
    wishes = (*spec.unstrided, *(["stride_first"] if spec.stride_first else []))
    if spec.padding == "same_pool":
        wishes += ("padding same_pool",)
    if wishes and not (hasattr(net, "layer1") or "layer1" in getattr(net, "_modules", {})):
        raise ModelError(f"backbone '{spec.name}' is no ResNet, so it cannot have '{wishes[0]}'")
    for stage in spec.unstrided:
        _set_stride(_first_block(net, stage, spec), 1)
    if spec.stride_first:
        for stage in ("layer2", "layer3", "layer4"):
            if hasattr(net, stage):
                _stride_first(_first_block(net, stage, spec))
    if spec.padding == "same_pool":
        net.maxpool = create_pool2d("max", 3, stride=2, padding="same")


def _first_block(net: Any, stage: str, spec: BackboneSpec) -> Any:
    """The block of a stage that halves the map."""
    if not hasattr(net, stage):
        raise ModelError(f"backbone '{spec.name}' has no stage '{stage}' up to its last tap")
    return getattr(net, stage)[0]


def _set_stride(block: Any, stride: int) -> None:
    """Gives every strided convolution of the block another stride, nothing else (no dilation)."""
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d) and layer.stride != (1, 1):
            layer.stride = (stride, stride)


def _stride_first(block: Any) -> None:
    """Moves the stride of a bottleneck from its 3x3 to its first 1x1. Raises `ModelError` for a block of two 3x3."""
    if not hasattr(block, "conv3"):
        raise ModelError("backbone.stride_first needs bottlenecks; the blocks of this ResNet have no first 1x1")
    block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)
