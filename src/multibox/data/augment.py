"""The SSD paper's augmentation in one pass: geometry is drawn on the boxes alone, and only what it shows is decoded.

Photometric distortion, zoom-out onto a canvas of the mean colour, IoU crop and flip (paper section 2.2, and Caffe's
batch sampler; the numbers are those of torchvision's SSD preset). Zoom-out and crop only choose a window, which may
reach beyond the photo. The window is then read at the smallest JPEG scale that still has enough pixels, resized
straight to its place in the network's input, and colours are changed there, where there are few pixels. Colours and
mirror may also be left to the device that the network runs on (`Finish`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from multibox.data.finish import Finish, finish
from multibox.data.photo import Photo, open_photo
from multibox.data.photometric import Photometric, draw_matrix, mean_color
from multibox.data.render import Area, canvas, render
from multibox.data.window import Window, crop_window, zoom_window
from multibox.images.prepare import fill_color, prepare
from multibox.images.read import Pixels
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
    """One training image: uint8 [h, w, 3] RGB at network size, boxes as fractions of it [n, 4], labels [n].

    `left` is what is still to be done to its pixels; the boxes are as they will be then.
    """

    image: Pixels
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    left: Finish | None = None


def augment(
    source: str | os.PathLike[str] | bytes | Photo,
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    spec: AugmentSpec,
    network: InputSpec,
    rng: np.random.Generator,
    *,
    finished: bool = True,
) -> Sample:
    """The image at network size, changed as `spec` says by draws from `rng`, with the objects that remain visible.

    `boxes` are x1, y1, x2, y2 [n, 4] in pixels of the upright photo. Unless `finished`, colours and mirror are drawn
    but left to be done. Raises `DataError` for an image that cannot be read.
    """
    photo = open_photo(source)
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    image, area, placed, kept = (_move if spec.moves else _whole)(photo, boxes, spec, network, rng)
    labels = np.asarray(labels, np.int64)[kept]
    matrix = draw_matrix(spec.photometric, mean_color(image, area), rng) if spec.photometric else None
    mirror = rng.random() < spec.flip_p
    if mirror:
        placed = np.stack([1 - placed[:, 2], placed[:, 1], 1 - placed[:, 0], placed[:, 3]], axis=1)
    left = Finish(matrix, area, mirror)
    if finished:
        image = finish(image, left)
    return Sample(image, np.ascontiguousarray(placed, np.float32), labels, None if finished else left)


_Moved = tuple[Pixels, Area, NDArray[np.float32], NDArray[np.bool_]]


def _whole(
    photo: Photo, boxes: NDArray[np.float32], spec: AugmentSpec, network: InputSpec, rng: np.random.Generator
) -> _Moved:
    """The whole photo by the very function that prediction uses: (pixels, its place, boxes as fractions, all kept)."""
    pixels = photo.read()
    stored = np.array([pixels.shape[1] / photo.size[0], pixels.shape[0] / photo.size[1]] * 2, np.float32)
    prepared = prepare(pixels, network)
    scale = np.array([prepared.scale_x, prepared.scale_y] * 2, np.float32) * stored
    pad = np.array([prepared.pad_x, prepared.pad_y] * 2, np.float32)
    sides = np.array([network.width, network.height] * 2, np.float32)
    placed = np.clip((boxes * scale + pad) / sides, 0, 1)
    width, height = round(pixels.shape[1] * prepared.scale_x), round(pixels.shape[0] * prepared.scale_y)
    area = (prepared.pad_x, prepared.pad_y, prepared.pad_x + width, prepared.pad_y + height)
    return prepared.pixels, area, placed, np.ones(len(boxes), np.bool_)


def _move(
    photo: Photo, boxes: NDArray[np.float32], spec: AugmentSpec, network: InputSpec, rng: np.random.Generator
) -> _Moved:
    """The photo through a drawn window: (pixels, its place, the remaining boxes as fractions, which those are)."""
    window = Window(0, 0, *photo.size)
    if rng.random() < spec.zoom_out_p:
        window = zoom_window(window, spec.zoom_out_max, rng)
    if spec.crop:
        window = crop_window(window, boxes, spec.crop_options, spec.crop_scale, spec.crop_aspect, spec.crop_trials, rng)
    cut, kept = visible(boxes, window, by_center=spec.crop)
    patch = render(photo, window, network)
    image = canvas([patch], spec.fill or fill_color(network), network)
    return image, patch.area, patch.place(cut[kept], network), kept


def visible(
    boxes: NDArray[np.float32], window: Window, *, by_center: bool
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The parts of boxes [n, 4] in the window, and of which enough is left; `by_center`: whose centre is inside."""
    cut = window.clip(boxes)
    kept = window.holds_centers(boxes) if by_center else np.ones(len(boxes), np.bool_)
    return cut, kept & ((cut[:, 2:] - cut[:, :2]) >= _MIN_SIDE).all(axis=1)
