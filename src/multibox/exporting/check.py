"""Whether an exported file agrees with torch on real photos, on every runtime that is installed."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from multibox.boxes.postprocess import Detections, postprocess
from multibox.errors import ExportError
from multibox.exporting.parity import BOX_BOUND, SCORE_BOUND, Parity, compare_image, worst
from multibox.images.prepare import prepare
from multibox.images.read import read_image
from multibox.network.inference import Inference
from multibox.prediction.engines.base import RawDetections
from multibox.prediction.engines.onnx_file import OnnxFile, parse_onnx
from multibox.prediction.engines.onnxruntime_engine import OnnxRuntimeEngine
from multibox.prediction.engines.openvino_engine import OpenVinoEngine

_RESOLUTION = 2**-20
"""Share of a coordinate that is rounding: boxes that the coder does not limit may be many times the photo, and float32
has 24 digits."""
_MOST = 10.0
"""Times a bound that a network's own rounding may widen it."""
_DENSE = {"dense_boxes": [None, None, 4], "dense_scores": [None, None, None]}


def check_export(inference: Inference, graph: onnx.ModelProto, images: Sequence[NDArray[np.uint8]] | None) -> Parity:
    """How far the file `graph` is from torch on photos uint8 RGB of any size, or on our own ones where None.

    The scores and boxes of all priors are compared before NMS, where no tie hides or feigns a difference; then the
    file's detections with those that `boxes.postprocess` makes of the very same scores and boxes. Where that is too
    far, bounds are widened for a network that multiplies rounding: the file may be as far from float64 as torch is.
    """
    photos = images if images is not None else sample_images()
    file = parse_onnx(_with_dense_outputs(graph).SerializeToString(), Path("the exported file"))
    engines = _engines(file)
    found = [_check_photo(inference, engine, photo) for engine in engines for photo in photos]
    names = " and ".join(engine.name for engine in engines)
    parity = replace(worst(f"torch and the file on {names}", found), images=len(photos))
    return parity if parity.agrees else _allow_rounding(parity, inference, photos)


@torch.inference_mode()
def _allow_rounding(parity: Parity, inference: Inference, photos: Sequence[NDArray[np.uint8]]) -> Parity:
    """The same differences with bounds of twice torch's own distance from float64, where that is more."""
    spec, exact = inference.model.spec, copy.deepcopy(inference).double()
    sides = torch.tensor([spec.input.width, spec.input.height] * 2)
    score_bound, box_bound = SCORE_BOUND, BOX_BOUND
    for photo in photos:
        pixels = torch.from_numpy(prepare(photo, spec.input).pixels[None])
        (boxes, scores), (true_boxes, true_scores) = inference(pixels), exact(pixels)
        score_bound = max(score_bound, 2 * float((scores - true_scores).abs().max()))
        box_bound = max(box_bound, 2 * float(((boxes - true_boxes) * sides).abs().max()))
    return replace(
        parity, score_bound=min(score_bound, _MOST * SCORE_BOUND), box_bound=min(box_bound, _MOST * BOX_BOUND)
    )


def sample_images() -> list[NDArray[np.uint8]]:
    """The photograph that matplotlib installs, mirrored, and parts of it. Raises `ExportError` where it is absent."""
    package = importlib.util.find_spec("matplotlib")  # found, not imported: that takes a second
    path = Path(package.origin).parent / "mpl-data/sample_data/grace_hopper.jpg" if package and package.origin else None
    if path is None or not path.is_file():
        raise ExportError("no photographs to check the file with; give some, or install matplotlib")
    photo = read_image(path)
    height, width = photo.shape[:2]
    parts = [photo[: height // 2], photo[height // 2 :], photo[height // 4 :, width // 4 :], photo[:, : width // 2]]
    return [photo, *(np.ascontiguousarray(part) for part in (photo[:, ::-1], *parts))]


def _engines(file: OnnxFile) -> list[OnnxRuntimeEngine | OpenVinoEngine]:
    """The file on every runtime that is installed."""
    engines: list[OnnxRuntimeEngine | OpenVinoEngine] = []
    if importlib.util.find_spec("openvino"):
        engines.append(OpenVinoEngine(file))
    if importlib.util.find_spec("onnxruntime"):
        engines.append(OnnxRuntimeEngine(file))
    if not engines:
        raise ExportError("nothing here can check the exported file; install onnxruntime or openvino")
    return engines


def _with_dense_outputs(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the file that also gives what NMS is fed with."""
    copied = onnx.ModelProto()
    copied.CopyFrom(graph)
    for name, shape in _DENSE.items():
        copied.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return copied


def _check_photo(inference: Inference, engine: OnnxRuntimeEngine | OpenVinoEngine, photo: NDArray[np.uint8]) -> Parity:
    """One photo on one runtime."""
    spec = inference.model.spec
    size = (spec.input.height, spec.input.width)
    pixels = prepare(photo, spec.input).pixels[None]
    outputs = engine.infer(np.repeat(pixels, engine.batch or 1, axis=0))
    boxes, scores = (torch.from_numpy(np.array(outputs[name][:1])) for name in _DENSE)
    with torch.inference_mode():
        true_boxes, true_scores = inference(torch.from_numpy(pixels))
    rule = replace(spec.postprocess, order="score_descending")
    expected = postprocess(boxes, scores, rule, level_sizes=inference.model.level_sizes, input_size=size)[0]
    detections = compare_image(_raw(expected, outputs["scores"].shape[1]), engine.run(pixels)[0], size)
    apart = ((boxes - true_boxes).abs() - _RESOLUTION * true_boxes.abs()).clamp(min=0)
    pixels_apart = apart * torch.tensor([size[1], size[0]] * 2)
    return replace(
        detections,
        scores=float(np.max([detections.scores, (scores - true_scores).abs().max()])),  # unlike max, keeps NaN
        boxes=float(np.max([detections.boxes, pixels_apart.max()])),
    )


def _raw(found: Detections, limit: int) -> RawDetections:
    """The best `limit` detections as NumPy arrays."""
    return RawDetections(found.boxes[:limit].numpy(), found.scores[:limit].numpy(), found.labels[:limit].numpy())
