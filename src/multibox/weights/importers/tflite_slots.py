"""Where the convolutions of TensorFlow's SSD detectors go: our keys, in the order in which they feed each other."""

from __future__ import annotations

from typing import NamedTuple

_V1_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
V1_CHANNELS = (32, 64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024)
"""Of the convolutions of MobileNetV1 at width 1, without the depthwise ones."""
_V2_STAGES = ((1, 1), (2, 2), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1))
"""Blocks of each stage of MobileNetV2, and the stride of the first of them."""


class Slot(NamedTuple):
    """Our keys of one convolution and its norm, whether ReLU6 follows, whether the convolution itself has a bias."""

    conv: str
    norm: str | None
    active: bool
    biased: bool = False
    depthwise: bool = False
    stride: int = 1


class Network(NamedTuple):
    """A trunk: its convolutions, how many residual sums are between them, which convolutions are tapped.

    `taps` count back from the end of the slots; the last one is the last slot.
    """

    slots: tuple[Slot, ...]
    sums: int
    taps: tuple[int, ...]


def _layer(key: str, *, active: bool = True, depthwise: bool = False, stride: int = 1) -> Slot:
    """A convolution at `KEY.0` with its norm at `KEY.1`."""
    return Slot(f"{key}.0", f"{key}.1", active, depthwise=depthwise, stride=stride)


def _mobilenet_v1() -> tuple[Slot, ...]:
    """Our own MobileNetV1."""
    slots = [_layer("backbone.stem", stride=2)]
    for block, stride in enumerate(_V1_STRIDES):
        key = f"backbone.blocks.{block}"
        slots += [_layer(f"{key}.0", depthwise=True, stride=stride), _layer(f"{key}.1")]
    return tuple(slots)


def _mobilenet_v2_of_torchvision() -> tuple[Slot, ...]:
    """The last convolution of a block has its norm beside it."""
    slots = [_layer("backbone.features.0", stride=2)]
    for index, stride in enumerate(_v2_strides(), start=1):
        key = f"backbone.features.{index}.conv"
        place = 1 if index > 1 else 0
        slots += [_layer(f"{key}.0")] if index > 1 else []
        slots.append(_layer(f"{key}.{place}", depthwise=True, stride=stride))
        slots.append(Slot(f"{key}.{place + 1}", f"{key}.{place + 2}", False))
    return (*slots, _layer("backbone.features.18"))


def _mobilenet_v2_of_timm() -> tuple[Slot, ...]:
    """The first block has no expansion, so that its layers have other names."""
    net = "backbone.net"
    slots = [Slot(f"{net}.conv_stem", f"{net}.bn1", True, stride=2)]
    strides = iter(_v2_strides())
    for stage, (count, _) in enumerate(_V2_STAGES):
        for block in range(count):
            key, stride = f"{net}.blocks.{stage}.{block}", next(strides)
            if stage:
                slots.append(Slot(f"{key}.conv_pw", f"{key}.bn1", True))
            norms = ("bn2", "bn3") if stage else ("bn1", "bn2")
            slots.append(Slot(f"{key}.conv_dw", f"{key}.{norms[0]}", True, depthwise=True, stride=stride))
            slots.append(Slot(f"{key}.{'conv_pwl' if stage else 'conv_pw'}", f"{key}.{norms[1]}", False))
    return (*slots, Slot(f"{net}.conv_head", f"{net}.bn2", True))


def _v2_strides() -> list[int]:
    """The stride of every block of MobileNetV2."""
    return [stride if block == 0 else 1 for count, stride in _V2_STAGES for block in range(count)]


MOBILENET_V1 = Network(_mobilenet_v1(), 0, (5, 1))
MOBILENET_V1_PYRAMID = Network(_mobilenet_v1(), 0, (17, 5, 1))
MOBILENET_V2 = Network(_mobilenet_v2_of_torchvision(), 10, (13, 1))
MOBILENET_V2_PYRAMID = Network(_mobilenet_v2_of_timm(), 10, (35, 14, 1))


def extra_slots(block: int, *, separable: bool) -> tuple[Slot, ...]:
    """The convolutions of an extra level: 1x1, then a strided 3x3, or a depthwise one and a 1x1."""
    first, second, third = (f"extras.blocks.{block}.{place}" for place in range(3))
    if separable:
        return _layer(first), _layer(second, depthwise=True, stride=2), _layer(third)
    return _layer(first), _layer(second, stride=2)


def predictor_slots(kind: str, level: int, *, separable: bool) -> tuple[Slot, ...]:
    """The convolutions of one level's predictor of `boxes` or `classes`."""
    key = f"head.{kind}.{level}"
    if separable:
        return _layer(f"{key}.0", depthwise=True), Slot(f"{key}.1", None, False, biased=True)
    return (Slot(key, None, False, biased=True),)


def lateral_slot(level: int) -> Slot:
    """The 1x1 between a tap and the pyramid."""
    return Slot(f"fpn.laterals.{level}", None, False, biased=True)


def block_slots(conv: str, norm: str | None, *, separable: bool, stride: int = 1) -> tuple[Slot, ...]:
    """A 3x3 convolution, or a depthwise one with nothing after it and a 1x1; then norm and ReLU6, or a bias alone."""
    last, biased = norm is not None, norm is None
    if separable:
        return Slot(f"{conv}.0", None, False, depthwise=True, stride=stride), Slot(f"{conv}.1", norm, last, biased)
    return (Slot(conv, norm, last, biased, stride=stride),)
