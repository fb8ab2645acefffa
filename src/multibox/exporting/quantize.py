"""A float graph -> the same graph with 8-bit convolutions, by what the user's own images show (post-training).

One file serves OpenVINO and ONNX Runtime: both make integer work of the pairs of QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from multibox.exporting.calibration import IMAGES, Progress, Seen, find_images, observe, read_inputs, spread
from multibox.exporting.folding import fold_norms
from multibox.exporting.placement import Placement, place
from multibox.exporting.qdq import QdqWriter, Scale, weight_codes, weight_steps
from multibox.exporting.wiring import Wiring
from multibox.images.read import Pixels
from multibox.network.inference import Inference

log = logging.getLogger(__name__)

FEW = 8
"""With fewer images the ranges are a matter of chance."""


def quantize_onnx(
    dense: onnx.ModelProto,
    inference: Inference,
    calibration: Path,
    *,
    images: int = IMAGES,
    progress: Progress | None = None,
) -> onnx.ModelProto:
    """A copy of the float graph (pixels -> the network's output, without NMS) whose convolutions compute with 8 bits.

    `calibration` is a folder with pictures, a data set (its training split is taken) or one picture; `images` of them,
    evenly chosen, go through the network. Raises `DataError` where there are no pictures or none can be read.
    """
    paths = spread(find_images(calibration), images)
    if len(paths) < FEW:
        log.warning(
            f"{calibration}: only {len(paths)} images to calibrate with; "
            f"give {FEW} or more (better {IMAGES}) like those that the model will see"
        )
    return round_graph(dense, read_inputs(paths, inference.model.spec.input, progress))


def round_graph(dense: onnx.ModelProto, inputs: Iterable[Pixels]) -> onnx.ModelProto:
    """As `quantize_onnx`, for images uint8 [1, h, w, 3] at network size.

    The names of inputs and outputs stay. What the last convolutions give, and all behind them, stays float.
    """
    rounded = onnx.ModelProto()
    rounded.CopyFrom(dense)
    fold_norms(rounded.graph)
    wiring = Wiring(rounded.graph)
    placement = place(wiring)
    wanted = [*placement.values.values(), *(node.input[0] for node in placement.convolutions)]
    seen = observe(rounded, list(dict.fromkeys(wanted)), inputs)
    _round(rounded.graph, wiring, placement, seen)
    return rounded


def _round(graph: onnx.GraphProto, wiring: Wiring, placement: Placement, seen: Mapping[str, Seen]) -> None:
    """Writes all roundings into the graph."""
    origins = dict.fromkeys(placement.values.values())
    scales = {value: Scale.spanning(seen[value].lowest, seen[value].highest) for value in origins}
    writer = QdqWriter(graph)
    for value, origin in placement.values.items():
        writer.round_value(value, scales[origin])
    for node in placement.convolutions:
        value = node.input[0]
        scale = scales[placement.values[value]]
        weight, bias = _parameters(wiring, node)
        steps = weight_steps(weight, bias, scale)
        codes = weight_codes(weight, steps)
        lost = codes * steps[:, None, None, None] - weight
        writer.round_convolution(node, codes, steps, bias - _mean_shift(lost, seen[value].mean), scale)
    for value, bound in placement.bounds.items():
        wiring.maker[bound.input[0]].output[0] = value
        graph.node.remove(bound)
    writer.finish()


def _parameters(wiring: Wiring, node: onnx.NodeProto) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight [out, in / groups, h, w] and bias [out] of a convolution, zeros where it has none."""
    weight = np.asarray(numpy_helper.to_array(wiring.weights[node.input[1]]), np.float32)
    if len(node.input) < 3 or not node.input[2]:
        return weight, np.zeros(len(weight), np.float32)
    return weight, np.asarray(numpy_helper.to_array(wiring.weights[node.input[2]]), np.float32)


def _mean_shift(change: NDArray[np.float32], mean: NDArray[np.float64]) -> NDArray[np.float32]:
    """By how much a `change` of weights [out, in / groups, h, w] moves the mean of each output [out], where the input
    has this `mean` [in]: taken off the bias, it leaves the noise of rounding alone.
    """
    groups = len(mean) // change.shape[1]
    inside = change.sum(axis=(2, 3), dtype=np.float64).reshape(groups, -1, change.shape[1])
    return np.asarray((inside * mean.reshape(groups, 1, -1)).sum(axis=2).reshape(-1), np.float32)
