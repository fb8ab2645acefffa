"""Imports detectors of TensorFlow's object detection API from .tflite files: their convolutions onto our keys.

Batch norm is folded into the convolutions of such a file, so our norms become the identity plus the folded bias; where
one convolution is shared by all levels (FPNLite's tower) the folded weights of two levels differ only by a factor per
channel, which is put back into the norm of that level. Boxes are coded dy, dx, dh, dw there: rows are reordered.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from multibox.errors import ModelError
from multibox.weights.importers.tflite_graph import Graph, Operator, read_graph
from multibox.weights.importers.tflite_slots import (
    BOX_PREDICTORS,
    FPNLITE_LEVELS,
    MOBILENET_V1_LEVELS,
    Slot,
    fpnlite_slots,
    mobilenet_v1_slots,
)

FPNLITE = "ssd320_mobilenet_v2_fpnlite.tf2_coco"
MOBILENET_V1 = "ssd300_mobilenet_v1_075.tf1_coco"

_POSTPROCESS = "TFLite_Detection_PostProcess"
_SCALES = {"y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}
_PRIORS = {
    6 * sum(side**2 for side in FPNLITE_LEVELS): FPNLITE,
    6 * sum(side**2 for side in MOBILENET_V1_LEVELS) - 3 * MOBILENET_V1_LEVELS[0] ** 2: MOBILENET_V1,
}
"""How many priors each detector has; the first map of the older one has three per cell instead of six."""
_NORM_EPS = 1e-3
"""That of every batch norm in these models; their sheets state the same."""
_TOLERANCE = 1e-5
"""How far folded weights of a level may be from a multiple of those of the first level, relative to their largest."""
_QUANTUM = 0.05
"""How far the range of a quantised map may be from 0..6 to act as ReLU6."""
_XY_FIRST = (1, 0, 3, 2)


def read(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The full sheet name of the detector in a .tflite file, and its weights under our keys.

    Raises `ModelError` naming the file where it is not a .tflite file, or not one of the two detectors known here.
    """
    graph = read_graph(path)
    try:
        name = recognise(graph)
        return name, _convert(graph, list(fpnlite_slots() if name == FPNLITE else mobilenet_v1_slots()))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def recognise(graph: Graph) -> str:
    """The full sheet name by the number of priors, after a look at the box coder's scales. Raises `ModelError`."""
    last = graph.operators[-1] if graph.operators else None
    if last is None or last.kind != _POSTPROCESS:
        raise ModelError(f"not a detector of TensorFlow's object detection API (no operator {_POSTPROCESS} at the end)")
    scales = {key: last.options.get(key) for key in _SCALES}
    if scales != _SCALES:
        raise ModelError(f"the box coder's scales are {scales}, only {_SCALES} are known")
    count = len(read_priors(graph))
    if count not in _PRIORS:
        raise ModelError(
            f"its {count} priors belong to none of the detectors known here: {', '.join(_PRIORS.values())}"
        )
    return _PRIORS[count]


def read_priors(graph: Graph) -> NDArray[np.float32]:
    """The priors in a detector's file: [p, 4] as cx, cy, w, h in fractions of the input; uint8 files round them."""
    return graph.constant(graph.operators[-1].inputs[2])[:, _XY_FIRST]


def _convert(graph: Graph, slots: list[Slot]) -> dict[str, Tensor]:
    """Puts the convolutions of the graph, in its order, into the slots."""
    operators = [operator for operator in graph.operators if operator.kind in ("conv", "depthwise")]
    if len(operators) != len(slots):
        raise ModelError(f"it has {len(operators)} convolutions, the network has {len(slots)}")
    state: dict[str, Tensor] = {}
    for operator, slot in zip(operators, slots, strict=True):
        _check_activation(graph, operator, slot)
        weight, bias = _weight(graph, operator), torch.from_numpy(graph.constant(operator.inputs[2]))
        if slot.biased and slot.conv.startswith(BOX_PREDICTORS):
            weight, bias = _reorder(weight), _reorder(bias)
        _place(state, slot, weight, bias)
    return state


def _check_activation(graph: Graph, operator: Operator, slot: Slot) -> None:
    """The fused activation, or in a quantised file the range of the output, must be what the slot has."""
    limits = graph.values[operator.outputs[0]].range
    clamped = limits is not None and abs(limits[0]) < _QUANTUM and abs(limits[1] - 6) < _QUANTUM
    if (operator.activation == "relu6" or clamped) != slot.active or operator.activation not in ("none", "relu6"):
        raise ModelError(
            f"the convolution for '{slot.conv}' has activation '{operator.activation}', which does not fit"
        )


def _weight(graph: Graph, operator: Operator) -> Float[Tensor, "out in kh kw"]:
    """The kernel in torch's layout; the rows of a depthwise one are its channels."""
    kernel = graph.constant(operator.inputs[1])
    axes = (3, 0, 1, 2) if operator.kind == "depthwise" else (0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(kernel.transpose(axes)))


def _place(state: dict[str, Tensor], slot: Slot, weight: Tensor, bias: Tensor) -> None:
    """One convolution into the state; of one that is there already (another level's) only the norm is new."""
    known = state.setdefault(f"{slot.conv}.weight", weight)
    factor = _factor(slot.conv, known, weight)
    if slot.norm is not None:
        state |= _identity_norm(slot.norm, factor, bias)
        return
    if not torch.allclose(factor, torch.ones(()), atol=_TOLERANCE):
        raise ModelError(f"the convolution for '{slot.conv}' is shared, but differs between levels")
    if slot.biased:
        state[f"{slot.conv}.bias"] = bias
    elif bias.any():
        raise ModelError(f"the convolution for '{slot.conv}' has a bias, for which the network has no place")


def _factor(key: str, known: Float[Tensor, "out ..."], weight: Float[Tensor, "_ ..."]) -> Float[Tensor, " out"]:
    """By what each channel of `known` must be multiplied to give `weight` (least squares). Raises where nothing does.

    Quantisation per channel commutes with a factor per channel, so that the rest is rounding of float32 alone.
    """
    if known is weight:
        return torch.ones(len(weight))
    if known.shape != weight.shape:
        raise ModelError(
            f"the convolution for '{key}' is {tuple(known.shape)} on one level, {tuple(weight.shape)} on another"
        )
    old, new = known.flatten(1).double(), weight.flatten(1).double()
    tiny = torch.finfo(torch.float64).tiny
    factor = (old * new).sum(1) / (old * old).sum(1).clamp(min=tiny)
    rest = (new - factor[:, None] * old).abs().amax(1) / new.abs().amax(1).clamp(min=tiny)
    if rest.max() > _TOLERANCE:
        raise ModelError(
            f"the convolution for '{key}' is shared, but its levels differ by more than a factor per channel"
        )
    return factor.float()


def _identity_norm(key: str, factor: Float[Tensor, " c"], bias: Float[Tensor, " c"]) -> dict[str, Tensor]:
    """A batch norm that, while not training, computes `factor * x + bias`."""
    return {
        f"{key}.weight": factor,
        f"{key}.bias": bias,
        f"{key}.running_mean": torch.zeros_like(bias),
        f"{key}.running_var": torch.full_like(bias, 1 - _NORM_EPS),
        f"{key}.num_batches_tracked": torch.zeros((), dtype=torch.int64),
    }


def _reorder(rows: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
    """Rows dy, dx, dh, dw of every shape -> dx, dy, dw, dh."""
    return rows.reshape(-1, 4, *rows.shape[1:])[:, list(_XY_FIRST)].reshape(rows.shape)
