"""Where the convolutions of TensorFlow's two SSD detectors go: our keys, in the order of their files' operators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

FPNLITE_LEVELS = (40, 20, 10, 5, 3)
MOBILENET_V1_LEVELS = (19, 10, 5, 3, 2, 1)
"""Sides of the maps that have priors."""
BOX_PREDICTORS = ("head.box_predictor.", "head.boxes.")
_TOWER_DEPTH = 4
_V2_REPEATS = (1, 2, 3, 4, 3, 3, 1)
_V2_LATERALS = {2: 0, 4: 1}
"""Stages of MobileNetV2 after which the file computes a lateral of the pyramid."""
_V1_BLOCKS = 13


class Slot(NamedTuple):
    """Our keys of one convolution and its norm, whether ReLU6 follows, whether the convolution itself has a bias."""

    conv: str
    norm: str | None
    active: bool
    biased: bool = False


def fpnlite_slots() -> Iterator[Slot]:
    """MobileNetV2 with the laterals where they branch off, pyramid, tower (by depth, then level), predictors."""
    net = "backbone.net"
    yield Slot(f"{net}.conv_stem", f"{net}.bn1", True)
    for stage, repeats in enumerate(_V2_REPEATS):
        for block in range(repeats):
            yield from _v2_block(f"{net}.blocks.{stage}.{block}", expands=stage > 0)
        if stage in _V2_LATERALS:
            yield Slot(f"fpn.laterals.{_V2_LATERALS[stage]}", None, False, biased=True)
    yield Slot(f"{net}.conv_head", f"{net}.bn2", True)
    yield Slot("fpn.laterals.2", None, False, biased=True)
    for key in ("fpn.smooths.1", "fpn.smooths.0", "fpn.extras.0", "fpn.extras.1"):
        yield from _separable(f"{key}.0", f"{key}.1")
    levels = range(len(FPNLITE_LEVELS))
    for depth in range(_TOWER_DEPTH):
        for level in levels:
            yield from _separable(f"head.class_tower.convs.{depth}", f"head.class_tower.norms.{level}.{depth}")
    for predictor in ("head.box_predictor", "head.class_predictor"):
        for _ in levels:
            yield from _separable(predictor, None)


def mobilenet_v1_slots() -> Iterator[Slot]:
    """MobileNetV1, the extra blocks, then per level the box predictor and the class predictor."""
    yield Slot("backbone.stem.0", "backbone.stem.1", True)
    levels = len(MOBILENET_V1_LEVELS)
    blocks = [f"backbone.blocks.{i}" for i in range(_V1_BLOCKS)] + [f"extras.blocks.{i}" for i in range(levels - 2)]
    for block in blocks:
        for half in (f"{block}.0", f"{block}.1"):
            yield Slot(f"{half}.0", f"{half}.1", True)
    for level in range(levels):
        yield Slot(f"head.boxes.{level}", None, False, biased=True)
        yield Slot(f"head.classes.{level}", None, False, biased=True)


def _v2_block(key: str, *, expands: bool) -> Iterator[Slot]:
    """An inverted residual block, or the first one, which does not expand; the last convolution is linear."""
    if expands:
        yield Slot(f"{key}.conv_pw", f"{key}.bn1", True)
        yield Slot(f"{key}.conv_dw", f"{key}.bn2", True)
        yield Slot(f"{key}.conv_pwl", f"{key}.bn3", False)
    else:
        yield Slot(f"{key}.conv_dw", f"{key}.bn1", True)
        yield Slot(f"{key}.conv_pw", f"{key}.bn2", False)


def _separable(conv: str, norm: str | None) -> Iterator[Slot]:
    """A depthwise convolution with nothing after it, then a pointwise one with norm and ReLU6, or a bias alone."""
    yield Slot(f"{conv}.0", None, False)
    yield Slot(f"{conv}.1", norm, norm is not None, biased=norm is None)
