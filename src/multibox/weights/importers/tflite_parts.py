"""What all of TensorFlow's SSD detectors are told by: units of convolutions, maps, and trunks that are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from multibox.errors import ModelError
from multibox.weights.importers.tflite_slots import V1_CHANNELS, Network, Slot
from multibox.weights.importers.tflite_trace import Trace

_LEAST_CHANNELS = 16
"""Of every layer but the depthwise ones in object_detection's configurations (`min_depth`)."""

Place = tuple[int, Slot]
"""The number of a convolution in its graph, and where it goes."""
Unit = tuple[int, ...]
"""A convolution, or a depthwise one and the 1x1 behind it."""


class Detector(NamedTuple):
    """`changes` are the fields of the sheet that the graph states, whether they differ from it or not."""

    sheet: str
    places: list[Place]
    changes: Mapping[str, Any]


def unit(trace: Trace, number: int) -> Unit:
    """The convolution, with the depthwise one that feeds it."""
    feeder = trace.feeder(number)
    if feeder is not None and trace.operator(feeder).kind == "depthwise":
        return feeder, number
    return (number,)


def maps_below(trace: Trace, *predictors: Sequence[Unit]) -> list[int]:
    """What feeds the units of each level, which must be the same for boxes and classes."""
    found = [[feeder(trace, each[0]) for each in units] for units in predictors]
    if any(each != found[0] for each in found):
        raise ModelError("its box and class predictors stand on different maps")
    return found[0]


def feeder(trace: Trace, number: int) -> int:
    """What feeds a convolution that is not the first one."""
    found = trace.feeder(number)
    if found is None:
        raise ModelError("a predictor stands on the image itself")
    return found


def network_of(trace: Trace, trunk: Sequence[int], sums: int, known: Iterable[Network]) -> Network:
    """The network with whose convolutions the trunk begins."""
    for network in known:
        pairs = list(zip(trunk, network.slots, strict=False))
        if sums == network.sums and len(pairs) == len(network.slots) and all(fits(trace, *pair) for pair in pairs):
            return network
    raise ModelError(f"its trunk of {len(trunk)} convolutions and {sums} sums is of no network known here")


def fits(trace: Trace, number: int, slot: Slot) -> bool:
    """Whether a convolution is of the slot's kind: depthwise or not, its stride, and TensorFlow's padding."""
    operator = trace.operator(number)
    padded = operator.padding == "same" or trace.weight(number).shape[-1] == 1
    return (operator.kind == "depthwise") == slot.depthwise and operator.strides == (slot.stride,) * 2 and padded


def width_of_v1(trace: Trace, trunk: Sequence[int]) -> float:
    """The multiplier of MobileNetV1's channels.

    They are cut to whole numbers, and not below 16: the largest of the quotients is a multiplier that gives them all.
    """
    channels = np.array([trace.shape(number)[3] for number in trunk if trace.operator(number).kind == "conv"])
    quotients = channels / np.array(V1_CHANNELS)
    return float(quotients[channels > _LEAST_CHANNELS].max(initial=quotients[-1]))
