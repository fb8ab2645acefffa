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
from multibox.data.render import canvas, render
from multibox.data.view import Item, View
from multibox.data.window import CropRule, Window, crop_window, visible, zoom_window
from multibox.images.prepare import fill_color, prepare
from multibox.images.read import Pixels
from multibox.spec import InputSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentSpec:
    """What is drawn for each image; the defaults are the paper's. `p` are probabilities, ranges are (low, high).

    `fill` is the canvas colour of zoom-out, RGB 0..255; none: the model's mean. `mosaic` and `mixup` are probabilities
    too; `mosaic_scale` is how large the photos of a mosaic are against what they are in an input of their own.
    """

    photometric: Photometric | None = field(default_factory=Photometric)
    zoom_out_p: float = 0.5
    zoom_out_max: float = 4.0
    fill: tuple[int, int, int] | None = None
    crop: CropRule | None = field(default_factory=CropRule)
    flip_p: float = 0.5
    mosaic: float = 0.0
    mosaic_scale: tuple[float, float] = (0.5, 1.0)
    mixup: float = 0.0

    @classmethod
    def none(cls) -> AugmentSpec:
        """Nothing drawn: the image exactly as prediction sees it."""
        return cls(photometric=None, zoom_out_p=0.0, crop=None, flip_p=0.0)

    @property
    def headroom(self) -> float:
        """How much larger than in an input that shows it whole a photo may be seen, up to twice.

        That is how large a cache keeps photos. Crops of less than half their sides are enlarged from there; to have
        enough pixels for the smallest ones too would take three times the memory.
        """
        return min(2.0, 1 / max(self.crop.scale[0], 0.01)) if self.crop else 1.0

    @property
    def moves(self) -> bool:
        """Whether zoom-out or crop can change what is seen."""
        return self.crop is not None or self.zoom_out_p > 0.0


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
    item = Item(open_photo(source), np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(labels, np.int64))
    return complete(look(item, spec, network, rng), spec, rng, finished=finished)


def complete(view: View, spec: AugmentSpec, rng: np.random.Generator, *, finished: bool) -> Sample:
    """The view with its colours and its mirror drawn, and done where it is to be `finished`."""
    matrix = draw_matrix(spec.photometric, mean_color(view.image, view.area), rng) if spec.photometric else None
    mirror, boxes = bool(rng.random() < spec.flip_p), view.boxes
    if mirror:
        boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)
    left = Finish(matrix, view.area, mirror)
    image = finish(view.image, left) if finished else view.image
    return Sample(image, np.ascontiguousarray(boxes, np.float32), view.labels, None if finished else left)


def look(item: Item, spec: AugmentSpec, network: InputSpec, rng: np.random.Generator) -> View:
    """The photo through a drawn window with the objects that remain, or the whole of it where nothing may move."""
    if not spec.moves:
        return _whole(item, network)
    window = Window(0, 0, *item.photo.size)
    if rng.random() < spec.zoom_out_p:
        window = zoom_window(window, spec.zoom_out_max, rng)
    if spec.crop is not None:
        window = crop_window(window, item.boxes, spec.crop, rng)
    cut, kept = visible(item.boxes, window, by_center=spec.crop is not None)
    patch = render(item.photo, window, network)
    image = canvas([patch], spec.fill or fill_color(network), network)
    return View(image, patch.area, patch.place(cut[kept], network), item.labels[kept])


def _whole(item: Item, network: InputSpec) -> View:
    """The whole photo by the very function that prediction uses."""
    pixels = item.photo.read()
    prepared = prepare(pixels, network)
    width, height = item.photo.size
    x, y = prepared.pad_x, prepared.pad_y
    inner_width, inner_height = round(pixels.shape[1] * prepared.scale_x), round(pixels.shape[0] * prepared.scale_y)
    scale = np.array([inner_width / width, inner_height / height] * 2, np.float32)
    sides = np.array([network.width, network.height] * 2, np.float32)
    boxes = np.clip((item.boxes * scale + np.array([x, y] * 2, np.float32)) / sides, 0, 1)
    return View(prepared.pixels, (x, y, x + inner_width, y + inner_height), boxes, item.labels)
