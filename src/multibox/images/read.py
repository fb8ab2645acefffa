"""Any picture becomes uint8 [H, W, 3] RGB: files, bytes, arrays and Pillow images of every mode, upright by EXIF.

JPEG goes through simplejpeg (libjpeg-turbo), everything else, and what it objects to, through Pillow. Rules for what is
not plain RGB: transparent pixels are laid over white, 16-bit values are scaled to 8 bits, palette, grey, CMYK and 1-bit
images are converted, of an animation the first frame is taken. The size in the header is checked before any pixel is
decoded.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from multibox.errors import DataError
from multibox.images.jpeg import JpegHeader, read_header

Pixels = NDArray[np.uint8]
ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.generic] | Image.Image
_T = TypeVar("_T")

MAX_PIXELS = 128_000_000
"""Larger images are refused before decoding (128 Mpx take 384 MB; a small file may claim far more)."""

_ORIENTATION = 0x0112
_TRANSPOSED = frozenset({5, 6, 7, 8})
_FLIPPED = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
"""What makes each EXIF orientation upright: rows become columns, then a flip (of OpenCV: 1 left to right, 0 upside
down, -1 both).
"""


def read_image(source: ImageSource) -> Pixels:
    """The picture as uint8 [H, W, 3] RGB, upright.

    Arrays are [H, W], [H, W, 1], [H, W, 3] RGB or [H, W, 4] RGBA of bool, uint8, uint16 or floats in 0..1.
    Raises `DataError` naming the source: no such file, a folder, not an image, truncated, or more than `MAX_PIXELS`.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        _refuse_bomb(source.width, source.height, "image")
        return _guard(lambda: _to_rgb(source), "image")
    return decode(*encoded(source))


def read_at_least(source: ImageSource, side: int) -> tuple[Pixels, int, int]:
    """The picture as `read_image` gives it, perhaps smaller, and the width and height that it really has.

    A JPEG file comes at 1/2, 1/4 or 1/8 of them where its shorter side still has `side` pixels then: it is decoded
    faster so.
    """
    if isinstance(source, np.ndarray | Image.Image):
        pixels = read_image(source)
        return pixels, pixels.shape[1], pixels.shape[0]
    data, name = encoded(source)
    header = read_header(data)
    reduce = reduction(min(header.width, header.height) / side) if header is not None else 1
    pixels = decode(data, name, reduce=reduce)
    width, height = size_of(data, name) if reduce > 1 else (pixels.shape[1], pixels.shape[0])
    return pixels, width, height


def reduction(factor: float) -> int:
    """The strongest reduction of a JPEG file, 8, 4, 2 or 1, that is not above `factor`."""
    return next((step for step in (8, 4, 2) if factor >= step), 1)


def encoded(source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> tuple[bytes, str]:
    """A file's content, or the bytes themselves, and what errors call it."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), "image bytes"
    return read_bytes(source), os.fspath(source)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The file's content. Raises `DataError` naming a file that is absent, a folder, or not readable."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  half the time of Path.read_bytes
            return file.read()
    except FileNotFoundError:
        raise DataError(f"no such image file: {os.fspath(path)}") from None
    except IsADirectoryError:
        raise DataError(f"{os.fspath(path)} is a folder, not an image file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{os.fspath(path)} cannot be read ({getattr(error, 'strerror', None) or error})") from None


def decode(data: bytes, name: str, *, reduce: int = 1) -> Pixels:
    """The picture in `data` as uint8 [H, W, 3] RGB; `name` is what errors call it.

    `reduce` 2, 4 or 8 asks for 1/reduce of both sides (rounded up), which JPEG decodes faster; other formats ignore it.
    """
    header = read_header(data)
    if header is not None:
        _refuse_bomb(header.width, header.height, name)
        if header.complete and header.channels != 4:  # CMYK and files without an end are Pillow's
            pixels = _decode_jpeg(data, header, reduce)
            if pixels is not None:
                return pixels
    return _guard(lambda: _to_rgb(_open(data, name)), name)


def read_size(source: str | os.PathLike[str] | bytes) -> tuple[int, int]:
    """(width, height) of the upright picture from the header alone. Raises `DataError` as `read_image` does."""
    return size_of(*encoded(source))


def size_of(data: bytes, name: str) -> tuple[int, int]:
    """(width, height) of the upright picture in `data`, from its header alone; `name` is what errors call it."""
    header = read_header(data)
    if header is not None:
        _refuse_bomb(header.width, header.height, name)
        turned = header.has_exif and _orientation(data) in _TRANSPOSED
        return (header.height, header.width) if turned else (header.width, header.height)

    def upright() -> tuple[int, int]:
        image = _open(data, name)
        if image.format == "TIFF":  # Pillow states its upright size
            return image.width, image.height
        turn = image.getexif().get(_ORIENTATION, 1)
        return (image.height, image.width) if turn in _TRANSPOSED else (image.width, image.height)

    return _guard(upright, name)


def _decode_jpeg(data: bytes, header: JpegHeader, reduce: int) -> Pixels | None:
    """libjpeg-turbo's pixels, upright; None where it objects to anything, so that Pillow may judge."""
    least = {"min_width": -(-header.width // reduce), "min_height": -(-header.height // reduce)} if reduce > 1 else {}
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, **least)
    except ValueError:
        return None
    return _upright(pixels, _orientation(data)) if header.has_exif else pixels


def _orientation(data: bytes) -> int:
    """How the camera was held, as EXIF numbers it; 1 (upright) where that cannot be read."""
    try:
        return int(Image.open(io.BytesIO(data)).getexif().get(_ORIENTATION, 1))
    except Exception:  # Pillow raises many kinds for a broken EXIF block; the pixels are whole
        return 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """The picture as the camera saw it."""
    if orientation in _TRANSPOSED:
        pixels = np.asarray(cv2.transpose(pixels), np.uint8)
    if orientation in _FLIPPED:
        pixels = np.asarray(cv2.flip(pixels, _FLIPPED[orientation]), np.uint8)
    return pixels


def _open(data: bytes, name: str) -> Image.Image:
    """The image, header read and size checked, pixels not yet decoded."""
    image = Image.open(io.BytesIO(data))
    _refuse_bomb(image.width, image.height, name)
    return image


def _guard(action: Callable[[], _T], name: str) -> _T:
    """The action's result; whatever a decoder raises on a hostile file becomes one sentence."""
    try:
        with warnings.catch_warnings():  # what Pillow mutters about odd files; the limit of pixels is ours
            warnings.simplefilter("ignore")
            return action()
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(f"{name} claims more than {MAX_PIXELS:,} pixels and was not decoded") from None
    except UnidentifiedImageError:
        raise DataError(f"{name} is not an image, or of a format that is not known") from None
    except Exception as error:
        # Decoders raise OSError, SyntaxError, ValueError, struct.error, ... depending on where a file is broken.
        raise DataError(f"{name} is damaged or truncated ({error})") from None


def _refuse_bomb(width: int, height: int, name: str) -> None:
    """Raises where the header claims more pixels than are decoded, or none."""
    if width * height > MAX_PIXELS:
        raise DataError(f"{name} claims {width} x {height} pixels, more than {MAX_PIXELS:,}, and was not decoded")
    if width < 1 or height < 1:
        raise DataError(f"{name} has no pixels ({width} x {height})")


def _to_rgb(image: Image.Image) -> Pixels:
    """A Pillow image of any mode, upright, as RGB."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_to_rgb(_deep_grey(np.asarray(image)))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _over_white(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))


def _deep_grey(values: NDArray[np.generic]) -> Pixels:
    """Grey of 16 or 32 bits, or floats, as uint8: 0..65535 linearly; values that stay within 0..255 are kept."""
    deep = np.nan_to_num(values.astype(np.float32))
    top = float(deep.max(initial=0.0))
    if values.dtype.kind == "f" and top <= 1.0:
        return _round(deep * 255.0)
    if values.dtype.itemsize == 2 or top > 255.0:
        return _round(deep * (255.0 / max(65535.0, top)))
    return _round(deep)


def _from_array(array: NDArray[np.generic]) -> Pixels:
    """An array of the kinds `read_image` lists, as RGB; uint8 RGB is handed on without a copy."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or array.size == 0:
        raise DataError(f"an image array is [H, W], [H, W, 3] or [H, W, 4], not {list(array.shape)}")
    pixels = _to_uint8(array)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return _grey_to_rgb(pixels.reshape(pixels.shape[:2]))
    return pixels if pixels.shape[2] == 3 else _over_white(pixels)


def _to_uint8(array: NDArray[np.generic]) -> Pixels:
    """Values of any accepted type as 0..255."""
    if array.dtype == np.uint8:
        return np.asarray(array, np.uint8)
    if array.dtype == np.bool_:
        return _round(array.astype(np.float32) * 255.0)
    if array.dtype == np.uint16:
        return _round(array.astype(np.float32) / 257.0)
    if array.dtype.kind == "f":
        values = array.astype(np.float32)
        if np.isfinite(values).all() and values.min() >= 0.0 and values.max() <= 1.0:
            return _round(values * 255.0)
        raise DataError("an image array of floats holds values in 0..1; give uint8 for 0..255")
    raise DataError(f"an image array is uint8, uint16, bool or float, not {array.dtype}")


def _round(values: NDArray[np.float32]) -> Pixels:
    """Floats as uint8, rounded and limited to 0..255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _grey_to_rgb(grey: Pixels) -> Pixels:
    """[H, W] three times."""
    return np.repeat(grey[:, :, None], 3, axis=2)


def _over_white(rgba: Pixels) -> Pixels:
    """RGBA laid over white, as a viewer shows it; colours hidden under full transparency are arbitrary."""
    alpha = rgba[:, :, 3:].astype(np.float32) / 255.0
    return _round(rgba[:, :, :3] * alpha + 255.0 * (1.0 - alpha))
