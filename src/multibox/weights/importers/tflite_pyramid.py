"""TensorFlow's SSD with a feature pyramid over a MobileNet, and predictors that all levels share, by its graph.

Source: object_detection, `SSDMobileNetV1FpnFeatureExtractor`, `SSDMobileNetV2FpnFeatureExtractor` (and their Keras
twins, which carry smoothed maps down), `WeightSharedConvolutionalBoxPredictor`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from multibox.errors import ModelError
from multibox.weights.importers.tflite_parts import (
    Detector,
    Place,
    Unit,
    feeder,
    maps_below,
    network_of,
    unit,
    width_of_v1,
)
from multibox.weights.importers.tflite_slots import (
    MOBILENET_V1_PYRAMID,
    MOBILENET_V2_PYRAMID,
    Network,
    block_slots,
    lateral_slot,
)
from multibox.weights.importers.tflite_trace import Trace

TOLERANCE = 1e-5
"""How far kernels of two levels may be from multiples of each other, relative to their largest number."""
_SMALL = 320
"""The input of the smaller FPNLite."""

Layer = list[Unit]
"""One convolution of a tower, level by level."""


class _Pyramid(NamedTuple):
    """The maps with predictors, the 1x1 convolutions from the trunk, both fine to coarse, and `FpnSpec.carry`."""

    features: list[int]
    laterals: list[int]
    carry: str


def pyramid_detector(trace: Trace, boxes: Sequence[int], classes: Sequence[int]) -> Detector:
    """The detector whose last convolutions, level by level, are `boxes` and `classes`; `ModelError` for another."""
    box_tower, class_tower = _tower(trace, boxes), _tower(trace, classes)
    pyramid = _pyramid(trace, maps_below(trace, box_tower[0], class_tower[0]))
    network, trunk = _network(trace, pyramid.laterals)
    one = box_tower[:-1] == class_tower[:-1]
    places: list[Place] = [*zip(trunk, network.slots, strict=True), *_pyramid_places(trace, pyramid)]
    places += _tower_places("class", class_tower, class_tower[:-1])
    places += _tower_places("box", box_tower, [] if one else box_tower[:-1])
    changes = {
        "fpn.channels": trace.shape(pyramid.features[0])[3],
        "fpn.extra_levels": len(pyramid.features) - len(pyramid.laterals),
        "fpn.separable": len(unit(trace, pyramid.features[0])) == 2,
        "fpn.carry": pyramid.carry,
        "head.tower_depth": len(class_tower) - 1,
        "head.tower_channels": trace.weight(class_tower[-1][0][-1]).shape[1],
        "head.separable_tower": len(class_tower[-1][0]) == 2,
        "head.shared_tower": one,
    }
    if network is MOBILENET_V2_PYRAMID:
        side = trace.graph.values[trace.graph.inputs[0]].shape[1]
        sheet = f"ssd{_SMALL if side == _SMALL else 640}_mobilenet_v2_fpnlite.tf2_coco"
        return Detector(sheet, places, changes)
    sheet = f"ssd640_mobilenet_v1_fpn.tf{2 if pyramid.carry == 'smoothed' else 1}_coco"
    return Detector(sheet, places, changes | {"backbone.width": width_of_v1(trace, trunk)})


def _tower(trace: Trace, predictors: Sequence[int]) -> list[Layer]:
    """The convolutions that all levels share, from the maps to the predictors."""
    layers = [[unit(trace, number) for number in predictors]]
    while True:
        feeders = [trace.feeder(each[0]) for each in layers[0]]
        found = [number for number in feeders if number is not None and trace.operator(number).kind == "conv"]
        units = [unit(trace, number) for number in found]
        if len(units) != len(feeders) or not all(_same(trace, units[0], other) for other in units[1:]):
            return layers
        layers.insert(0, units)


def _same(trace: Trace, one: Unit, other: Unit) -> bool:
    """Whether two units are the same convolution, folded with the norms of two levels."""
    return len(one) == len(other) and all(
        proportional(trace.weight(a), trace.weight(b)) for a, b in zip(one, other, strict=True)
    )


def proportional(kernel: np.ndarray, other: np.ndarray) -> bool:
    """Whether each row of `kernel` is a multiple of the other's."""
    if kernel.shape != other.shape:
        return False
    new, old = (rows.reshape(len(rows), -1).astype(np.float64) for rows in (kernel, other))
    factor = (old * new).sum(1) / np.maximum((old * old).sum(1), np.finfo(np.float64).tiny)
    return bool((np.abs(new - factor[:, None] * old).max(1) <= TOLERANCE * np.abs(new).max(1)).all())


def _pyramid(trace: Trace, features: list[int]) -> _Pyramid:
    """The pyramid below the maps: those of the finer levels are made of sums, one is a lateral, the rest is strided."""
    sums = []
    for number in features:
        below = feeder(trace, unit(trace, number)[0])
        if trace.operator(below).kind != "add" or _is_pointwise(trace, number):
            break
        sums.append(below)
    if not 0 < len(sums) < len(features):
        raise ModelError("it has no feature pyramid of a kind known here")
    laterals, carried = [], set()
    for level, total in enumerate(sums):
        lateral, coarse = _terms(trace, total)
        laterals.append(lateral)
        names = {features[level + 1]: "smoothed"}
        names |= {sums[level + 1]: "sum"} if level + 1 < len(sums) else {features[level + 1]: ""}
        carried.add(names.get(coarse, "unknown"))
    carried.discard("")
    if carried - {"sum", "smoothed"} or len(carried) > 1:
        raise ModelError("its feature pyramid carries other maps down than those known")
    return _Pyramid(features, [*laterals, features[len(sums)]], next(iter(carried), "sum"))


def _is_pointwise(trace: Trace, number: int) -> bool:
    """Whether a map comes from a 1x1 convolution alone."""
    return len(unit(trace, number)) == 1 and trace.weight(number).shape[-1] == 1


def _terms(trace: Trace, total: int) -> tuple[int, int]:
    """Of a sum the term of its own size, which is the lateral, and the coarser one, which was enlarged."""
    terms = [number for value in trace.operator(total).inputs if (number := trace.maker(value)) is not None]
    own = [number for number in terms if trace.shape(number) == trace.shape(total)]
    coarse = [number for number in terms if number not in own]
    if len(own) != 1 or len(coarse) != 1:
        raise ModelError("its feature pyramid adds up other maps than those known")
    return own[0], coarse[0]


def _network(trace: Trace, laterals: Sequence[int]) -> tuple[Network, list[int]]:
    """The network that the laterals stand on, and its convolutions."""
    ends = [trace.trunk(feeder(trace, number)) for number in laterals]
    trunk, sums = ends[-1]
    network = network_of(trace, trunk, sums, (MOBILENET_V1_PYRAMID, MOBILENET_V2_PYRAMID))
    wanted = [len(network.slots) - tap + 1 for tap in network.taps]
    if [len(convolutions) for convolutions, _ in ends] != wanted or len(trunk) != len(network.slots):
        raise ModelError("its feature pyramid stands on other maps than those of the detectors known")
    return network, trunk


def _pyramid_places(trace: Trace, pyramid: _Pyramid) -> list[Place]:
    """Where the convolutions between the trunk and the towers go."""
    places = [(number, lateral_slot(level)) for level, number in enumerate(pyramid.laterals)]
    last = len(pyramid.laterals) - 1
    for level, number in enumerate(pyramid.features):
        if level == last:
            continue
        key, stride = (f"fpn.smooths.{level}", 1) if level < last else (f"fpn.extras.{level - last - 1}", 2)
        each = unit(trace, number)
        if level > last and feeder(trace, each[0]) != pyramid.features[level - 1]:
            raise ModelError("the coarse levels of its feature pyramid do not follow each other")
        places += zip(each, block_slots(f"{key}.0", f"{key}.1", separable=len(each) == 2, stride=stride), strict=True)
    return places


def _tower_places(kind: str, tower: Sequence[Layer], layers: Sequence[Layer]) -> list[Place]:
    """Where the predictors of a tower, and those of its `layers` that are not another tower's too, go."""
    places: list[Place] = []
    key = f"head.{kind}_tower"
    for depth, units in enumerate(layers):
        for level, each in enumerate(units):
            norm = f"{key}.norms.{level}.{depth}"
            places += zip(each, block_slots(f"{key}.convs.{depth}", norm, separable=len(each) == 2), strict=True)
    for each in tower[-1]:
        places += zip(each, block_slots(f"head.{kind}_predictor", None, separable=len(each) == 2), strict=True)
    return places
