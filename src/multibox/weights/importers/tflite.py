"""Imports detectors of TensorFlow's object detection API from .tflite files: their convolutions onto our keys.

Batch norm is folded into the convolutions of such a file, so our norms become the identity plus the folded bias; where
one convolution is shared by all levels (the towers of a feature pyramid) the folded weights of two levels differ only
by a factor per channel, which is put back into the norm of that level. Boxes are coded dy, dx, dh, dw there.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from multibox.errors import ModelError
from multibox.weights.importers.box_rows import X_FIRST, x_first
from multibox.weights.importers.contract import Imported
from multibox.weights.importers.tflite_graph import Graph, read_graph
from multibox.weights.importers.tflite_levels import level_detector
from multibox.weights.importers.tflite_parts import Place, fits
from multibox.weights.importers.tflite_priors import prior_changes
from multibox.weights.importers.tflite_pyramid import TOLERANCE, proportional, pyramid_detector
from multibox.weights.importers.tflite_slots import Slot
from multibox.weights.importers.tflite_trace import Trace

POSTPROCESS = "TFLite_Detection_PostProcess"
_BOX_PREDICTORS = ("head.box_predictor", "head.boxes.")
_ACTIVATIONS = {"logistic": "sigmoid", "softmax": "softmax"}
_NORM_EPS = 1e-3
"""That of every batch norm in these models; their sheets state the same."""
_QUANTUM = 0.05
"""How far the range of a quantised map may be from 0..6 to act as ReLU6."""
_DIGITS = 5
"""Of settings that the file holds as float32."""


def read(path: Path) -> Imported:
    """The detector in a .tflite file: its sheet, its weights under our keys, and what it states otherwise.

    Raises `ModelError` naming the file where it is not a .tflite file, or not one of the detectors known here.
    """
    graph = read_graph(path)
    try:
        return convert(graph)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except (ArithmeticError, IndexError, RuntimeError, ValueError):  # numbers and shapes that belong to no tensor
        raise ModelError(f"{path}: damaged, or no detector of a kind known here") from None


def convert(graph: Graph) -> Imported:
    """The same of a graph."""
    last = graph.operators[-1] if graph.operators else None
    if last is None or last.kind != POSTPROCESS or len(last.inputs) < 3:
        raise ModelError(f"not a detector of TensorFlow's object detection API (no operator {POSTPROCESS} at the end)")
    trace = Trace(graph)
    boxes, _ = _predictors(trace, last.inputs[0])
    classes, activation = _predictors(trace, last.inputs[1])
    kernels = [trace.weight(number) for number in boxes]
    shared = all(np.array_equal(kernels[0], kernel) for kernel in kernels[1:])
    found = (pyramid_detector if shared else level_detector)(trace, boxes, classes)
    columns = trace.weight(classes[0]).shape[0] * 4 // kernels[0].shape[0]
    changes = {
        **found.changes,
        **_input_changes(graph),
        **_prior_changes(trace, boxes, found.sheet),
        **_setting_changes(graph, activation, columns),
    }
    return Imported(sheet=found.sheet, state=_state(trace, found.places), changes=changes)


def read_priors(graph: Graph) -> NDArray[np.float32]:
    """The priors in a detector's file: [p, 4] as cx, cy, w, h in fractions of the input; uint8 files round them."""
    return graph.constant(graph.operators[-1].inputs[2])[:, X_FIRST]


def _predictors(trace: Trace, value: int) -> tuple[list[int], str]:
    """The last convolutions behind an input of the post-processing, level by level, and what turns them into scores."""
    activation = ""
    number = trace.maker(value)
    if number is not None and trace.operator(number).kind in _ACTIVATIONS:
        activation = _ACTIVATIONS[trace.operator(number).kind]
        number = trace.feeder(number)
    if number is None or trace.operator(number).kind != "concatenation":
        raise ModelError("its boxes or scores are not put together from several levels")
    makers = [trace.maker(each) for each in trace.operator(number).inputs]
    found = [each for each in makers if each is not None and trace.operator(each).kind == "conv"]
    if len(found) != len(makers):
        raise ModelError("its boxes or scores do not come from convolutions")
    return found, activation


def _input_changes(graph: Graph) -> dict[str, Any]:
    """The size of the input and which numbers the pixels 0..255 stand for: -1..1, unless it is quantised."""
    given = graph.values[graph.inputs[0]]
    if len(given.shape) != 4 or given.shape[3] != 3:
        raise ModelError(f"its input is of shape {list(given.shape)}, not [1, height, width, 3]")
    low, high = given.range or (-1.0, 1.0)
    step = (high - low) / 255
    return {
        "input.height": given.shape[1],
        "input.width": given.shape[2],
        "input.mean": [round(-low / step, 3)] * 3,
        "input.std": [round(1 / step, 3)] * 3,
    }


def _prior_changes(trace: Trace, boxes: list[int], sheet: str) -> dict[str, Any]:
    """What the file says of its priors."""
    graph = trace.graph
    grids = [(height, width, channels // 4) for _, height, width, channels in map(trace.shape, boxes)]
    _, height, width, _ = graph.values[graph.inputs[0]].shape
    quantum = graph.values[graph.operators[-1].inputs[2]].scale
    return prior_changes(read_priors(graph), grids, (height, width), quantum, sheet)


def _setting_changes(graph: Graph, activation: str, columns: int) -> dict[str, Any]:
    """Scores, box coding and suppression."""
    options = graph.operators[-1].options
    names = ("x_scale", "y_scale", "w_scale", "h_scale", "nms_iou_threshold", "num_classes")
    numbers = [options.get(name) for name in names]
    x, y, w, h, iou, classes = (value if isinstance(value, int | float) else 0 for value in numbers)
    if not (x == y > 0 and w == h > 0 and iou > 0 and activation):
        raise ModelError(f"its post-processing has settings that are not known ({options})")
    if columns - classes not in (0, 1):
        raise ModelError(f"its predictors have {columns} columns for {classes} classes")
    return {
        "activation": activation,
        "background": columns > classes,
        "coder.center_variance": round(1 / x, _DIGITS),
        "coder.size_variance": round(1 / w, _DIGITS),
        "postprocess.iou": round(float(iou), _DIGITS),
    }


def _state(trace: Trace, places: Iterable[Place]) -> dict[str, Tensor]:
    """Puts the convolutions into their slots."""
    state: dict[str, Tensor] = {}
    for number, slot in places:
        if not fits(trace, number, slot):
            raise ModelError(f"the convolution for '{slot.conv}' has another stride or padding, or is of another kind")
        _check_activation(trace, number, slot)
        weight, bias = torch.from_numpy(trace.weight(number)), torch.from_numpy(trace.bias(number))
        if slot.biased and slot.conv.startswith(_BOX_PREDICTORS):
            weight, bias = x_first(weight), x_first(bias)
        _place(state, slot, weight, bias)
    return state


def _check_activation(trace: Trace, number: int, slot: Slot) -> None:
    """The fused activation, or in a quantised file the range of the output, must be what the slot has."""
    operator = trace.operator(number)
    limits = trace.graph.values[operator.outputs[0]].range
    clamped = limits is not None and abs(limits[0]) < _QUANTUM and abs(limits[1] - 6) < _QUANTUM
    if (operator.activation == "relu6" or clamped) != slot.active or operator.activation not in ("none", "relu6"):
        raise ModelError(
            f"the convolution for '{slot.conv}' has activation '{operator.activation}', which does not fit"
        )


def _place(state: dict[str, Tensor], slot: Slot, weight: Tensor, bias: Tensor) -> None:
    """One convolution into the state; of one that is there already (another level's) only the norm is new."""
    known = state.setdefault(f"{slot.conv}.weight", weight)
    factor = _factor(slot.conv, known, weight)
    if slot.norm is not None:
        state |= _identity_norm(slot.norm, factor, bias)
        return
    same = not slot.biased or torch.equal(state.setdefault(f"{slot.conv}.bias", bias), bias)
    if not (same and torch.allclose(factor, torch.ones(()), atol=TOLERANCE)):
        raise ModelError(f"the convolution for '{slot.conv}' is shared, but differs between levels")
    if not slot.biased and bias.any():
        raise ModelError(f"the convolution for '{slot.conv}' has a bias, for which the network has no place")


def _factor(key: str, known: Float[Tensor, "out ..."], weight: Float[Tensor, "_ ..."]) -> Float[Tensor, " out"]:
    """By what each channel of `known` must be multiplied to give `weight` (least squares). Raises where nothing does.

    Quantisation per channel commutes with a factor per channel, so that the rest is rounding of float32 alone.
    """
    if known is weight:
        return torch.ones(len(weight))
    if not proportional(weight.numpy(), known.numpy()):
        raise ModelError(f"the convolution for '{key}' is shared, but its levels differ by more than a factor")
    old, new = known.flatten(1).double(), weight.flatten(1).double()
    return ((old * new).sum(1) / (old * old).sum(1).clamp(min=torch.finfo(torch.float64).tiny)).float()


def _identity_norm(key: str, factor: Float[Tensor, " c"], bias: Float[Tensor, " c"]) -> dict[str, Tensor]:
    """A batch norm that, while not training, computes `factor * x + bias`."""
    return {
        f"{key}.weight": factor,
        f"{key}.bias": bias,
        f"{key}.running_mean": torch.zeros_like(bias),
        f"{key}.running_var": torch.full_like(bias, 1 - _NORM_EPS),
        f"{key}.num_batches_tracked": torch.zeros((), dtype=torch.int64),
    }
