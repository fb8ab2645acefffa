"""The SSD paper's augmentation in one pass: geometry is drawn on the boxes alone, and only what it shows is decoded.

Photometric distortion, zoom-out onto a canvas of the mean colour, IoU crop and flip (paper section 2.2, and Caffe's
batch sampler; the numbers are those of torchvision's SSD preset). Zoom-out and crop only choose a window, which may
reach beyond the photo. The window is then read at the smallest JPEG scale that still has enough pixels, resized
straight to its place in the network's input, and colours are changed there, where there are few pixels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from multibox.data.photometric import Photometric, distort
from multibox.data.window import Window, crop_window, zoom_window
from multibox.images.prepare import fill_color, letterbox_area, prepare
from multibox.images.read import Pixels, decode, read_bytes, size_of
from multibox.spec import InputSpec

_MIN_SIDE = 1.0
"""Objects of which less than this many pixels of the photo is left in width or height are dropped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentSpec:
    """What is drawn for each image; the defaults are the paper's. `p` are probabilities, ranges are (low, high).

    `fill` is the canvas colour of zoom-out, RGB 0..255; none: the model's mean. `crop_options` are the least IoU of a
    crop with some object that one draw asks for; 1 keeps the whole image. Without any legal crop in `crop_trials`
    another option is drawn.
    """

    photometric: Photometric | None = field(default_factory=Photometric)
    zoom_out_p: float = 0.5
    zoom_out_max: float = 4.0
    fill: tuple[int, int, int] | None = None
    crop: bool = True
    crop_options: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
    crop_scale: tuple[float, float] = (0.3, 1.0)
    crop_aspect: tuple[float, float] = (0.5, 2.0)
    crop_trials: int = 40
    flip_p: float = 0.5

    @classmethod
    def none(cls) -> AugmentSpec:
        """Nothing drawn: the image exactly as prediction sees it."""
        return cls(photometric=None, zoom_out_p=0.0, crop=False, flip_p=0.0)

    @property
    def moves(self) -> bool:
        """Whether zoom-out or crop can change what is seen."""
        return self.crop or self.zoom_out_p > 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One training image: uint8 [h, w, 3] RGB at network size, boxes as fractions of it [n, 4], labels [n]."""

    image: Pixels
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def augment(
    source: str | os.PathLike[str] | bytes,
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    spec: AugmentSpec,
    network: InputSpec,
    rng: np.random.Generator,
) -> Sample:
    """The image at network size, changed as `spec` says by draws from `rng`, with the objects that remain visible.

    `boxes` are x1, y1, x2, y2 [n, 4] in pixels of the upright photo. Raises `DataError` for an image that cannot be
    read.
    """
    name = "image bytes" if isinstance(source, bytes) else os.fspath(source)
    data = source if isinstance(source, bytes) else read_bytes(source)
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    if spec.moves:
        image, placed, kept = _move(data, name, boxes, spec, network, rng)
    else:
        image, placed, kept = _whole(data, name, boxes, spec, network, rng)
    labels = np.asarray(labels, np.int64)[kept]
    if rng.random() < spec.flip_p:
        image = cv2.flip(image, 1)
        placed = np.stack([1 - placed[:, 2], placed[:, 1], 1 - placed[:, 0], placed[:, 3]], axis=1)
    return Sample(image, np.ascontiguousarray(placed, np.float32), labels)


_Moved = tuple[Pixels, NDArray[np.float32], NDArray[np.bool_]]


def _whole(
    data: bytes, name: str, boxes: NDArray[np.float32], spec: AugmentSpec, network: InputSpec, rng: np.random.Generator
) -> _Moved:
    """The whole photo by the very function that prediction uses: (pixels, boxes as fractions, all kept)."""
    prepared = prepare(decode(data, name), network)
    pixels = prepared.pixels
    if spec.photometric is not None:
        pixels = distort(pixels, spec.photometric, rng)
    scale = np.array([prepared.scale_x, prepared.scale_y] * 2, np.float32)
    pad = np.array([prepared.pad_x, prepared.pad_y] * 2, np.float32)
    placed = np.clip((boxes * scale + pad) / _sides(network), 0, 1)
    return pixels, placed, np.ones(len(boxes), np.bool_)


def _move(
    data: bytes, name: str, boxes: NDArray[np.float32], spec: AugmentSpec, network: InputSpec, rng: np.random.Generator
) -> _Moved:
    """The photo through a drawn window: (pixels, the remaining boxes as fractions, which those are)."""
    width, height = size_of(data, name)
    window = Window(0, 0, width, height)
    if rng.random() < spec.zoom_out_p:
        window = zoom_window(window, spec.zoom_out_max, rng)
    if spec.crop:
        window = crop_window(window, boxes, spec.crop_options, spec.crop_scale, spec.crop_aspect, spec.crop_trials, rng)
    cut = window.clip(boxes)
    inside = window.holds_centers(boxes) if spec.crop else np.ones(len(boxes), np.bool_)
    kept = inside & ((cut[:, 2:] - cut[:, :2]) >= _MIN_SIDE).all(axis=1)
    image, scale, shift = _render(data, name, (width, height), window, spec, network, rng)
    placed = np.clip((cut[kept] * scale + shift) / _sides(network), 0, 1)
    return image, placed, kept


def _render(
    data: bytes,
    name: str,
    size: tuple[int, int],
    window: Window,
    spec: AugmentSpec,
    network: InputSpec,
    rng: np.random.Generator,
) -> tuple[Pixels, NDArray[np.float32], NDArray[np.float32]]:
    """The window at network size, and the (scale, shift) that take pixels of the photo to pixels of the input [4]."""
    x, y, inner_width, inner_height = 0, 0, network.width, network.height
    if network.resize == "letterbox":
        x, y, inner_width, inner_height = letterbox_area(window.width, window.height, network)
    zoom = inner_width / window.width, inner_height / window.height
    seen = window.intersection(size)
    left, right = _span(x + (seen.x1 - window.x1) * zoom[0], x + (seen.x2 - window.x1) * zoom[0], network.width)
    top, bottom = _span(y + (seen.y1 - window.y1) * zoom[1], y + (seen.y2 - window.y1) * zoom[1], network.height)
    reduce = _reduction(seen, right - left, bottom - top)
    photo = decode(data, name, reduce=reduce)
    part, origin, extent = _part(photo, seen, reduce if photo.shape[1::-1] != size else 1)
    patch = _resize(part, right - left, bottom - top, network.interpolation)
    if spec.photometric is not None:
        patch = distort(patch, spec.photometric, rng)
    scale = np.array([(right - left) / extent[0], (bottom - top) / extent[1]] * 2)
    shift = np.array([left, top] * 2) - np.array(origin * 2) * scale
    image = _place(patch, left, top, spec.fill or fill_color(network), network)
    return image, scale.astype(np.float32), shift.astype(np.float32)


def _part(photo: Pixels, seen: Window, step: int) -> tuple[Pixels, tuple[int, int], tuple[int, int]]:
    """The pixels that cover `seen` of a photo read at 1/step, their origin and extent in pixels of the full one."""
    height, width = photo.shape[:2]
    x1, y1 = min(seen.x1 // step, width - 1), min(seen.y1 // step, height - 1)
    x2, y2 = min(-(-seen.x2 // step), width), min(-(-seen.y2 // step), height)
    return photo[y1:y2, x1:x2], (x1 * step, y1 * step), ((x2 - x1) * step, (y2 - y1) * step)


def _span(low: float, high: float, limit: int) -> tuple[int, int]:
    """The whole pixels from `low` to `high`, at least one, inside 0..limit."""
    first = min(max(round(low), 0), limit - 1)
    return first, min(max(round(high), first + 1), limit)


def _reduction(seen: Window, width: int, height: int) -> int:
    """The strongest JPEG reduction that still gives at least as many pixels as are shown."""
    factor = min(seen.width / width, seen.height / height)
    return 8 if factor >= 8 else 4 if factor >= 4 else 2 if factor >= 2 else 1


def _resize(part: Pixels, width: int, height: int, interpolation: str) -> Pixels:
    """The patch at its size: the sheet's interpolation up to a reduction by two, area averages beyond.

    INTER_LINEAR skips pixels beyond two, and a zoomed-out photo would be noise that no prediction ever sees. Any other
    interpolation gets area averages for every reduction: `by_size` predicts by them, and they are close to Pillow's
    antialiasing filter but several times faster.
    """
    factor = min(part.shape[1] / width, part.shape[0] / height)
    area = factor >= 2.0 or (interpolation != "bilinear" and factor > 1.0)
    resized: Pixels = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if area else cv2.INTER_LINEAR)
    return resized


def _place(patch: Pixels, left: int, top: int, fill: tuple[int, int, int], network: InputSpec) -> Pixels:
    """The patch on a canvas of one colour, unless it covers all of it."""
    height, width = patch.shape[:2]
    if (height, width) == (network.height, network.width):
        return patch
    bottom, right = network.height - top - height, network.width - left - width
    canvas: Pixels = cv2.copyMakeBorder(patch, top, bottom, left, right, cv2.BORDER_CONSTANT, value=fill)
    return canvas


def _sides(network: InputSpec) -> NDArray[np.float32]:
    """Width, height, width, height of the network's input."""
    return np.array([network.width, network.height] * 2, np.float32)
