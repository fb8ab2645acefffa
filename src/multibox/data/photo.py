"""A picture to be looked at in parts: an encoded file, or pixels that were decoded and reduced before."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from multibox.images.read import Pixels, decode, encoded, size_of


class Photo(Protocol):
    """`size` is the (width, height) of the upright photo that boxes are stated for."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        ...

    def read(self, reduce: int = 1) -> Pixels:
        """Pixels uint8 [h, w, 3] RGB of the whole photo, at about 1/`reduce` of its size, or larger."""
        ...


class EncodedPhoto:
    """A file's content, of any format that `images.read` knows; nothing is decoded before it is asked for."""

    def __init__(self, data: bytes, name: str) -> None:
        """`name` is what errors call it."""
        self._data, self._name = data, name

    @cached_property
    def size(self) -> tuple[int, int]:
        """(width, height) by the header. Raises `DataError`."""
        return size_of(self._data, self._name)

    def read(self, reduce: int = 1) -> Pixels:
        """Decoded; JPEG at 1/2, 1/4 or 1/8 where asked. Raises `DataError`."""
        return decode(self._data, self._name, reduce=reduce)


@dataclass(frozen=True, slots=True)
class StoredPhoto:
    """Pixels that stand for a photo of `size`, at its own size or smaller."""

    pixels: Pixels
    size: tuple[int, int]

    def read(self, reduce: int = 1) -> Pixels:
        """The pixels as they are."""
        return self.pixels


def open_photo(source: str | os.PathLike[str] | bytes | Photo) -> Photo:
    """The photo in a file or in a file's bytes. Raises `DataError` for a file that cannot be read."""
    return EncodedPhoto(*encoded(source)) if isinstance(source, str | os.PathLike | bytes) else source
