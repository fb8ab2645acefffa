"""Whether an exported file agrees with torch on real photos, on every runtime that is installed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from multibox.boxes.postprocess import Detections, postprocess
from multibox.errors import ExportError
from multibox.exporting.job import Job
from multibox.exporting.lower import in_precision
from multibox.exporting.parity import BOX_BOUND, SCORE_BOUND, Parity, compare_image, worst
from multibox.exporting.served import OUTPUTS
from multibox.images.prepare import prepare
from multibox.images.read import read_image
from multibox.installed import sample_photo
from multibox.network.inference import Inference
from multibox.prediction.engines.base import Outputs, RawDetections
from multibox.prediction.engines.exported import ExportedEngine

_RESOLUTION = 2**-20
"""Share of a coordinate that is rounding: boxes that the coder does not limit may be many times the photo, and float32
has 24 digits."""
_MOST = 10.0
"""Times a bound that a network's own rounding may widen it."""

_Boxes = Float[Tensor, "1 p 4"]
_Scores = Float[Tensor, "1 p c"]


@dataclass(frozen=True, kw_only=True)
class _Photo:
    """One photo at network size, uint8 [1, h, w, 3], and what torch says of it in float32."""

    pixels: NDArray[np.uint8]
    boxes: _Boxes
    scores: _Scores


def check_export(job: Job, engines: Sequence[ExportedEngine], images: Sequence[NDArray[np.uint8]]) -> Parity:
    """How far a file, opened on these engines, is from torch on photos uint8 RGB of any size.

    The scores and boxes of all priors are compared before NMS, where no tie hides or feigns a difference; then the
    file's detections with those that `boxes.postprocess` makes of the very same scores and boxes. A file in half
    precision may be twice as far from float32 as torch is in the same precision. A float32 one that is too far may be
    as far from float64 as twice torch is, since some networks multiply rounding.
    """
    photos = [_photo(job.truth, image) for image in images]
    found = [_check_photo(job, engine, photo) for engine in engines for photo in photos]
    names = " and ".join(engine.name for engine in engines)
    parity = replace(worst(f"torch and the file on {names}", found), images=len(photos))
    if job.order.computed in ("fp16", "bf16"):
        return _allow_half(parity, job, photos)
    return parity if parity.agrees else _allow_rounding(parity, job.truth, photos)


@torch.inference_mode()
def _photo(truth: Inference, image: NDArray[np.uint8]) -> _Photo:
    pixels = prepare(image, truth.model.spec.input).pixels[None]
    boxes, scores = truth(torch.from_numpy(pixels))
    return _Photo(pixels=pixels, boxes=boxes, scores=scores)


@torch.inference_mode()
def _allow_half(parity: Parity, job: Job, photos: Sequence[_Photo]) -> Parity:
    """The same differences with bounds of twice torch's own distance between the file's precision and float32.

    Raises `ExportError` where the precision has not the range that the network needs.
    """
    precision = job.order.computed
    low = job.network if job.network is not job.truth else in_precision(job.truth, precision)
    score_bound, box_bound = SCORE_BOUND, BOX_BOUND
    for photo in photos:
        boxes, scores = low(torch.from_numpy(photo.pixels))
        if not (boxes.isfinite().all() and scores.isfinite().all()):
            name = job.description.spec.name
            raise ExportError(f"{name}: {precision} cannot hold the numbers of this network; use --precision fp32")
        score_bound = max(score_bound, 2 * float((scores - photo.scores).abs().max()))
        box_bound = max(box_bound, 2 * float(_pixels_apart(job, boxes, photo.boxes).max()))
    basis = f"bounds: twice what {precision} differs from fp32 in torch itself"
    return replace(parity, score_bound=score_bound, box_bound=box_bound, basis=basis)


@torch.inference_mode()
def _allow_rounding(parity: Parity, truth: Inference, photos: Sequence[_Photo]) -> Parity:
    """The same differences with bounds of twice torch's own distance from float64, where that is more."""
    spec, exact = truth.model.spec, copy.deepcopy(truth).double()
    sides = torch.tensor([spec.input.width, spec.input.height] * 2)
    score_bound, box_bound = SCORE_BOUND, BOX_BOUND
    for photo in photos:
        true_boxes, true_scores = exact(torch.from_numpy(photo.pixels))
        score_bound = max(score_bound, 2 * float((photo.scores - true_scores).abs().max()))
        box_bound = max(box_bound, 2 * float(((photo.boxes - true_boxes) * sides).abs().max()))
    return replace(
        parity,
        score_bound=min(score_bound, _MOST * SCORE_BOUND),
        box_bound=min(box_bound, _MOST * BOX_BOUND),
        basis=f"bounds: twice what fp32 differs from fp64 in torch itself, at most {_MOST:.0f} times the usual",
    )


def sample_images() -> list[NDArray[np.uint8]]:
    """The photograph that matplotlib installs, mirrored, and parts of it. Raises `ExportError` where it is absent."""
    path = sample_photo()
    if path is None:
        raise ExportError("no photographs to check the file with; give some, or install matplotlib")
    photo = read_image(path)
    height, width = photo.shape[:2]
    parts = [photo[: height // 2], photo[height // 2 :], photo[height // 4 :, width // 4 :], photo[:, : width // 2]]
    return [photo, *(np.ascontiguousarray(part) for part in (photo[:, ::-1], *parts))]


def _check_photo(job: Job, engine: ExportedEngine, photo: _Photo) -> Parity:
    """One photo on one runtime."""
    outputs = engine.infer(np.repeat(photo.pixels, engine.batch or 1, axis=0))
    boxes, scores = _dense(job, outputs)
    if job.order.head == "raw":  # whoever takes raw outputs finds the detections
        found = worst("", [])
    else:
        limit = outputs["scores"].shape[1] if job.order.head == "nms" else None
        size = job.description.spec.input
        theirs = _detections(job, boxes, scores, limit)
        found = compare_image(theirs, engine.run(photo.pixels)[0], (size.height, size.width))
    return replace(
        found,
        scores=float(np.max([found.scores, (scores - photo.scores).abs().max()])),  # unlike max, keeps NaN
        boxes=float(np.max([found.boxes, _pixels_apart(job, boxes, photo.boxes).max()])),
    )


def _dense(job: Job, outputs: Outputs) -> tuple[_Boxes, _Scores]:
    """Boxes and scores of all priors of the first image."""
    first, second = (torch.from_numpy(np.array(outputs[name][:1])) for name in OUTPUTS[job.order.head])
    with torch.inference_mode():
        return job.truth.decoded(first, second) if job.order.head == "raw" else (first, second)


def _detections(job: Job, boxes: _Boxes, scores: _Scores, limit: int | None) -> RawDetections:
    """What the model's rule makes of one image, the best `limit` first."""
    model = job.truth.model
    rule, size = replace(model.spec.postprocess, order="score_descending"), model.spec.input
    found: Detections = postprocess(
        boxes, scores, rule, level_sizes=model.level_sizes, input_size=(size.height, size.width)
    )[0]
    return RawDetections(found.boxes[:limit].numpy(), found.scores[:limit].numpy(), found.labels[:limit].numpy())


def _pixels_apart(job: Job, boxes: _Boxes, true: _Boxes) -> Float[Tensor, "1 p 4"]:
    """How far boxes are from the true ones, in pixels of the input, beyond the rounding of the number itself."""
    size = job.description.spec.input
    apart = ((boxes - true).abs() - _RESOLUTION * true.abs()).clamp(min=0)
    return apart * torch.tensor([size.width, size.height] * 2)
