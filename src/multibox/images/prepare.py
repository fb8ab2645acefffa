"""A photo of any size becomes the network's input, and boxes of the input become pixels of the photo."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from multibox.images.read import Pixels
from multibox.spec import InputSpec


@dataclass(frozen=True, slots=True)
class Prepared:
    """Pixels uint8 [h, w, 3] RGB at network size, and how they came from a photo of `width` x `height` pixels.

    A photo's x lies at `x * scale_x + pad_x` in the input (likewise y). Colours stay RGB for `bgr` models too: the
    graph turns them.
    """

    pixels: Pixels
    width: int
    height: int
    scale_x: float
    scale_y: float
    pad_x: int
    pad_y: int

    def to_photo(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes x1, y1, x2, y2 [..., 4] from fractions of the input to pixels of the photo.

        Parts over the padding of a letterboxed input are cut off; a stretched input is scaled and nothing else.
        """
        height, width = self.pixels.shape[:2]
        pad = np.array([self.pad_x, self.pad_y] * 2, np.float32)
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float32)
        photo = (np.asarray(boxes, np.float32) * np.array([width, height] * 2, np.float32) - pad) / scale
        if self.pad_x or self.pad_y:
            limit = np.array([self.width, self.height] * 2, np.float32)
            photo = np.clip(photo, np.float32(0), limit)
        return photo.astype(np.float32, copy=False)


def prepare(image: Pixels, spec: InputSpec, size: tuple[int, int] | None = None) -> Prepared:
    """The photo (uint8 [H, W, 3] RGB) at the network's size, stretched or letterboxed as the sheet says.

    `size` is the photo's real (width, height) in pixels where `image` was decoded at less.
    """
    width, height = size or (image.shape[1], image.shape[0])
    if spec.resize == "stretch":
        pixels = resize(image, spec.width, spec.height, spec.interpolation)
        return Prepared(pixels, width, height, spec.width / width, spec.height / height, 0, 0)
    x, y, inner_width, inner_height = letterbox_area(width, height, spec)
    pixels = np.empty((spec.height, spec.width, 3), np.uint8)
    pixels[:] = fill_color(spec)
    pixels[y : y + inner_height, x : x + inner_width] = resize(image, inner_width, inner_height, spec.interpolation)
    return Prepared(pixels, width, height, inner_width / width, inner_height / height, x, y)


def letterbox_area(width: int, height: int, spec: InputSpec) -> tuple[int, int, int, int]:
    """(x, y, width, height) in pixels of the input: the photo's place in the middle, its proportions kept."""
    scale = min(spec.width / width, spec.height / height)
    inner_width = min(spec.width, max(1, round(width * scale)))
    inner_height = min(spec.height, max(1, round(height * scale)))
    return (spec.width - inner_width) // 2, (spec.height - inner_height) // 2, inner_width, inner_height


def fill_color(spec: InputSpec) -> tuple[int, int, int]:
    """The model's mean colour as RGB, which normalisation turns into zero."""
    red, green, blue = (min(255, max(0, round(value))) for value in spec.mean)
    return (blue, green, red) if spec.color == "bgr" else (red, green, blue)


def resize(image: Pixels, width: int, height: int, interpolation: str) -> Pixels:
    """The image at another size: `bilinear` as OpenCV's INTER_LINEAR, `bilinear_antialias` as Pillow's BILINEAR,
    `by_size` as OpenCV's INTER_CUBIC where both sides grow, INTER_AREA where both shrink, else INTER_LINEAR.
    """
    if image.shape[:2] == (height, width):
        return image
    if interpolation == "bilinear_antialias":
        return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    method = cv2.INTER_LINEAR
    if interpolation == "by_size":
        method = _by_size(image.shape[1], image.shape[0], width, height)
    resized: Pixels = cv2.resize(image, (width, height), interpolation=method)
    return resized


def _by_size(old_width: int, old_height: int, width: int, height: int) -> int:
    """GluonCV's choice of the method (its interpolation 9)."""
    if width > old_width and height > old_height:
        return cv2.INTER_CUBIC
    return cv2.INTER_AREA if width < old_width and height < old_height else cv2.INTER_LINEAR
