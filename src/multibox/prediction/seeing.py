"""A picture from any source -> the views of it that the network gets."""

from __future__ import annotations

from typing import NamedTuple

from multibox.images.read import ImageSource, Pixels, read_at_least, read_image
from multibox.prediction.tiles import Tiles, View, tiled_views, whole_view
from multibox.spec import InputSpec

_DETAIL = 2
"""Much larger photos are decoded at a size that is this many times the network's, or more: Pillow's thumbnails keep the
same distance.
"""


class Seen(NamedTuple):
    """The views of a photo of `width` x `height` pixels, the `image` they were made of, and the `source` of both."""

    views: tuple[View, ...]
    width: int
    height: int
    image: Pixels
    source: ImageSource

    def whole_image(self) -> Pixels:
        """The photo in all its pixels, uint8 [H, W, 3] RGB."""
        is_whole = self.image.shape[:2] == (self.height, self.width)
        return self.image if is_whole else read_image(self.source)


def see(source: ImageSource, spec: InputSpec, tiles: Tiles | None) -> Seen:
    """The whole picture as one view, or as `tiles` say. Raises `DataError` for one that cannot be read.

    Without tiles a JPEG file that is much larger than the network's input is decoded at 1/2, 1/4 or 1/8 of its size.
    """
    if tiles is not None:
        image = read_image(source)
        return Seen(tiled_views(image, spec, tiles), image.shape[1], image.shape[0], image, source)
    image, width, height = read_at_least(source, _DETAIL * max(spec.width, spec.height))
    return Seen((whole_view(image, spec, (width, height)),), width, height, image, source)
