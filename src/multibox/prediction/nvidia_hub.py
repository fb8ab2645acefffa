"""NVIDIA's torch.hub entries `nvidia_ssd` and `nvidia_ssd_processing_utils`: their calls and numbers, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from multibox.boxes.postprocess import detect
from multibox.boxes.priors import make_priors, shapes_per_cell
from multibox.errors import ModelError, UsageError
from multibox.images.read import read_image
from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.weights.cache import cache_folder
from multibox.weights.fetch import fetch
from multibox.weights.importers import Foreign, nvidia
from multibox.zoo import load_spec
from multibox.zoo.models import load_model

Floats = NDArray[np.float32]

_SHEET = "ssd300_resnet50.nvidia_coco"
_SIDE = 300
_MAPS = (38, 19, 10, 5, 3, 1)
_MOST = 20
"""Detections per image of the hub's decoding; NVIDIA's evaluation has those of the sheet."""
_MATH = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_TRUNCATE = 4.0
"""Where the Gaussian of the anti-aliasing ends, in standard deviations (SciPy's)."""


class NvidiaSSD(nn.Module):
    """An SSD300 that answers in NVIDIA's order, so that code which decodes it or computes its loss goes on working.

    `ssd` is our network. `load_state_dict` also takes state dicts of NVIDIA's own network.
    """

    order: Tensor

    def __init__(self, ssd: SSD) -> None:
        """Raises `ModelError` where the priors are not NVIDIA's, so that nobody could decode the answers."""
        super().__init__()
        if not torch.equal(ssd.priors, _priors()):
            raise ModelError(
                f"'{ssd.spec.name}' has other priors than NVIDIA's SSD300; open it by its own name instead"
            )
        self.ssd = ssd
        self.register_buffer("order", _their_order(), persistent=False)
        self.register_load_state_dict_pre_hook(_take_theirs)  # type: ignore[no-untyped-call]

    def forward(
        self, images: Float[Tensor, "n 3 300 300"]
    ) -> tuple[Float[Tensor, "n 4 8732"], Float[Tensor, "n columns 8732"]]:
        """What `prepare_tensor` gives -> (offsets, logits); priors are ordered by level, shape, y, x."""
        logits, offsets = self.ssd(images)
        ploc, plabel = (part.transpose(1, 2).index_select(2, self.order) for part in (offsets, logits))
        return ploc, plabel


def nvidia_ssd(
    pretrained: bool = True,
    model_math: Literal["fp32", "fp16", "bf16"] = "fp32",
    checkpoint: str | Path | None = None,
) -> NvidiaSSD:
    """SSD300 v1.1 on ResNet-50 with NVIDIA's weights for COCO; give it what `nvidia_ssd_processing_utils` prepares.

    `pretrained` takes the published `nvidia_ssdpyt_amp_200703.pt` from the folder MULTIBOX_CACHE or the checkpoints of
    torch.hub, or downloads it; without it the network is freshly initialised. `checkpoint` is a file of your own in its
    place: NVIDIA's or ours, of any ResNet. `model_math` is the precision of all but the batch norms.
    """
    if model_math not in _MATH:
        raise UsageError(f"model_math is one of {', '.join(_MATH)}, not '{model_math}'")
    if checkpoint is not None or pretrained:
        ssd = load_model(checkpoint or _published())
    else:
        ssd = build_model(load_spec(_SHEET))
    return _in_precision(NvidiaSSD(ssd), _MATH[model_math])


def nvidia_ssd_processing_utils() -> ProcessingUtils:
    """What stands before and behind `nvidia_ssd`: prepare_input, prepare_tensor, decode_results, pick_best and
    get_coco_object_dictionary, as NVIDIA's torch.hub has them.
    """
    return ProcessingUtils()


class ProcessingUtils:
    """NVIDIA's helpers under their names. An input is float [300, 300, 3] RGB from -1 to 1, the middle of the photo."""

    @staticmethod
    def prepare_input(img_uri: str | Path) -> Floats:
        """The picture at a path or an http address: short side 300, the middle of it, values (256 x - 128) / 128."""
        utils = ProcessingUtils
        return utils.normalize(utils.crop_center(utils.rescale(utils.load_image(img_uri), _SIDE, _SIDE), _SIDE, _SIDE))

    @staticmethod
    def load_image(image_path: str | Path) -> Floats:
        """RGB float [H, W, 3] in 0..1, upright; grey pictures too (NVIDIA's come out mirrored at the diagonal)."""
        web = str(image_path).startswith(("http://", "https://"))
        return read_image(fetch(str(image_path)) if web else image_path).astype(np.float32) / np.float32(255)

    @staticmethod
    def rescale(img: Floats, input_height: int, input_width: int) -> Floats:
        """The image with its short side as asked and its proportions kept, the long side rounded down."""
        aspect = img.shape[1] / img.shape[0]
        if aspect > 1:
            return _resize(img, input_width, int(aspect * input_height))
        return _resize(img, int(input_width / aspect), input_height)

    @staticmethod
    def crop_center(img: Floats, cropx: int, cropy: int) -> Floats:
        """The middle of the image."""
        left, top = img.shape[1] // 2 - cropx // 2, img.shape[0] // 2 - cropy // 2
        return img[top : top + cropy, left : left + cropx]

    @staticmethod
    def normalize(img: Floats, mean: float = 128, std: float = 128) -> Floats:
        """Values in 0..1 as (256 x - mean) / std."""
        return (img * 256 - mean) / std

    @staticmethod
    def prepare_tensor(inputs: Sequence[Floats], fp16: bool = False) -> Float[Tensor, "n 3 h w"]:
        """Inputs as one batch [n, 3, 300, 300], on CUDA where there is a device (NVIDIA's always asks for one)."""
        batch = torch.from_numpy(np.ascontiguousarray(np.stack(inputs).transpose(0, 3, 1, 2)))
        batch = batch.to("cuda" if torch.cuda.is_available() else "cpu").float()
        return batch.half() if fp16 else batch

    @staticmethod
    def decode_results(
        predictions: tuple[Float[Tensor, "n 4 8732"], Float[Tensor, "n columns 8732"]],
    ) -> list[list[NDArray[Any]]]:
        """What the network said -> for every image [boxes [k, 4], classes [k], scores [k]], at most 20, worst first.

        Boxes are left, top, right, bottom as fractions of the input, classes from 1. `predictions` stays as it is.
        """
        offsets, logits = (part.float().transpose(1, 2) for part in predictions)
        spec = load_spec(_SHEET)
        spec = replace(spec, postprocess=replace(spec.postprocess, max_detections=_MOST))
        found = detect(logits, offsets, _priors()[_their_order()].to(logits.device), spec)
        rows = [(image.boxes, image.labels + 1, image.scores) for image in found]
        return [[part.cpu().numpy() for part in image] for image in rows]

    @staticmethod
    def pick_best(detections: Sequence[NDArray[Any]], threshold: float = 0.3) -> list[NDArray[Any]]:
        """The boxes, classes and scores of the detections whose score is above the threshold."""
        best = np.flatnonzero(detections[2] > threshold)
        return [part[best] for part in detections]

    @staticmethod
    def get_coco_object_dictionary() -> list[str]:
        """The 80 names of COCO's classes; class 1 is the first. Nothing is fetched."""
        return list(load_spec(_SHEET).labels.names)


def _published() -> Path:
    """The published file: where a user or an earlier torch.hub put it, or downloaded."""
    weights = load_spec(_SHEET).weights
    assert weights is not None
    hub = Path(torch.hub.get_dir())
    # beside its folder `hub` is where NVIDIA's own entry keeps the file
    folders = cache_folder(), hub / "checkpoints", hub.parent / "checkpoints"
    known = [path for folder in folders if (path := folder / Path(weights.url).name).is_file()]
    return known[0] if known else fetch(weights.url, weights.sha256)


def _in_precision(network: NvidiaSSD, dtype: torch.dtype) -> NvidiaSSD:
    """The network in that precision, its batch norms in full precision (as NVIDIA has them)."""
    network.to(dtype)
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            layer.float()
    return network


@lru_cache
def _priors() -> Float[Tensor, "8732 4"]:
    """The priors [8732, 4] of NVIDIA's SSD300, in our order."""
    return make_priors(load_spec(_SHEET).priors, (_SIDE, _SIDE), [(side, side) for side in _MAPS])


@lru_cache
def _their_order() -> Int[Tensor, " 8732"]:
    """Index of our prior (level, y, x, shape) for every one of theirs (level, shape, y, x)."""
    order, first = [], 0
    for side, level in zip(_MAPS, load_spec(_SHEET).priors.levels, strict=True):
        rows = torch.arange(first, first + side * side * shapes_per_cell(level))
        order.append(rows.view(side * side, -1).T.reshape(-1))
        first += len(rows)
    return torch.cat(order)


def _take_theirs(_module: nn.Module, state: dict[str, Any], prefix: str, *_rest: object) -> None:
    """Turns a state dict of NVIDIA's own network, with or without `module.`, into one of ours in place."""
    found = nvidia.read(Foreign(state=dict(state)))
    if found is not None:
        state.clear()
        state.update({f"{prefix}ssd.{key}": value for key, value in found.state.items()})


def _resize(img: Floats, height: int, width: int) -> Floats:
    """Bilinear, after a Gaussian where a side shrinks, as scikit-image resizes; the image is mirrored at its edges."""
    sigmas = [max(0.0, (old / new - 1) / 2) for old, new in zip(img.shape, (height, width), strict=False)]
    sides = [2 * int(_TRUNCATE * sigma + 0.5) + 1 for sigma in sigmas]
    smooth = cv2.GaussianBlur(img, sides[::-1], sigmas[1], sigmaY=sigmas[0], borderType=cv2.BORDER_REFLECT_101)
    return _bilinear(_bilinear(smooth, height, axis=0), width, axis=1)


def _bilinear(img: Any, size: int, axis: int) -> Floats:
    """The image with `size` pixels along the axis, interpolated between the centres of its pixels."""
    old = img.shape[axis]
    at = (np.arange(size) + 0.5) * (old / size) - 0.5
    low = np.floor(at).astype(np.int64)
    share = (at - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(img.ndim)])
    below, above = (old - 1 - np.abs(old - 1 - np.abs(index)) for index in (low, low + 1))
    mixed: Floats = img.take(below, axis) * (1 - share) + img.take(above, axis) * share
    return mixed
