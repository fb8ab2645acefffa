"""TensorFlow's SSD with extra levels after a MobileNet, and predictors of every level's own, by its graph.

Source: object_detection, `SSDMobileNetV1FeatureExtractor`, `SSDMobileNetV2FeatureExtractor` (and their Keras twins),
`multi_resolution_feature_maps`, `ConvolutionalBoxPredictor`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from multibox.errors import ModelError
from multibox.weights.importers.tflite_parts import Detector, Place, Unit, maps_below, network_of, unit, width_of_v1
from multibox.weights.importers.tflite_slots import MOBILENET_V1, MOBILENET_V2, Network, extra_slots, predictor_slots
from multibox.weights.importers.tflite_trace import Trace

_SIZES = {2: "conv_norm", 3: "separable"}
"""Convolutions of an extra level -> `ExtrasSpec.kind`."""
_OWN_WIDTH = 0.75
"""The width of MobileNetV1 that has a sheet of its own."""


def level_detector(trace: Trace, boxes: Sequence[int], classes: Sequence[int]) -> Detector:
    """The detector whose last convolutions, level by level, are `boxes` and `classes`; `ModelError` for another."""
    box_units, class_units = ([unit(trace, number) for number in numbers] for numbers in (boxes, classes))
    features = maps_below(trace, box_units, class_units)
    trunk, sums = trace.trunk(features[-1])
    network = network_of(trace, trunk, sums, (MOBILENET_V1, MOBILENET_V2))
    extras = _extras(trunk, network, len(features))
    ends = [trunk[len(network.slots) - tap] for tap in network.taps] + [block[-1] for block in extras]
    if features != ends:
        raise ModelError("its predictors stand on other maps than those of the detectors known")
    separable = len(class_units[0]) == 2
    places: list[Place] = list(zip(trunk, network.slots, strict=False))
    for number, block in enumerate(extras):
        places += zip(block, extra_slots(number, separable=len(block) == 3), strict=True)
    places += _predictors("boxes", box_units, separable) + _predictors("classes", class_units, separable)
    changes: dict[str, Any] = {
        "extras.kind": _SIZES[len(extras[0])],
        "extras.blocks": [{"mid": trace.shape(block[0])[3], "out": trace.shape(block[-1])[3]} for block in extras],
        "head.kind": "separable" if separable else "conv",
    }
    if not separable:
        changes["head.kernel"] = trace.weight(classes[0]).shape[-1]
    if network is MOBILENET_V1:
        changes["backbone.width"] = width_of_v1(trace, trunk[: len(network.slots)])
    return Detector(_sheet(changes), places, changes)


def _extras(trunk: Sequence[int], network: Network, levels: int) -> list[Unit]:
    """The convolutions behind the network, cut into the extra levels."""
    rest, count = trunk[len(network.slots) :], levels - len(network.taps)
    size = len(rest) // max(count, 1)
    if size not in _SIZES or len(rest) != size * count:
        raise ModelError(f"{len(rest)} convolutions in {count} extra levels are of no kind known here")
    return [tuple(rest[at : at + size]) for at in range(0, len(rest), size)]


def _predictors(kind: str, units: Sequence[Unit], separable: bool) -> list[Place]:
    """Where the predictors of all levels go."""
    if any(len(each) != 1 + separable for each in units):
        raise ModelError("some of its predictors have a depthwise convolution, others have none")
    slots = [predictor_slots(kind, level, separable=separable) for level in range(len(units))]
    return [pair for each, places in zip(units, slots, strict=True) for pair in zip(each, places, strict=True)]


def _sheet(changes: Mapping[str, Any]) -> str:
    """The sheet that such a detector is nearest to."""
    if "backbone.width" in changes:
        return f"ssd300_mobilenet_v1{'_075' if changes['backbone.width'] == _OWN_WIDTH else ''}.tf1_coco"
    if changes["head.kind"] == "separable":
        return "ssdlite300_mobilenet_v2.tf1_coco"
    return f"ssd300_mobilenet_v2.tf{1 if changes['extras.kind'] == 'separable' else 2}_coco"
