"""Decoded photos, reduced once to what a training can use, in memory or on the disk.

A photo is kept at its own size or, where that is larger, at `headroom` times the size at which the network's input
shows all of it: a crop of 1/headroom of its sides has still as many pixels as the input. Smaller crops are enlarged.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from multibox.data.dataset import Record
from multibox.data.free_space import megabytes, require_disk, require_memory
from multibox.data.photo import EncodedPhoto, Photo, StoredPhoto, open_photo
from multibox.data.shared_pixels import SharedBytes
from multibox.images.read import Pixels, read_bytes, read_size
from multibox.results.files import make_folder, placed
from multibox.spec import InputSpec
from multibox.weights.cache import cache_folder

Size = tuple[int, int]

_VERSION = "1"
"""Of how pixels are reduced and stored; another one makes no use of what older ones left."""


def kept_size(size: Size, network: InputSpec, headroom: float) -> Size:
    """(width, height) at which a photo of `size` is kept; its proportions stay."""
    shown = network.width / size[0], network.height / size[1]
    scale = headroom * (min(shown) if network.resize == "letterbox" else max(shown))
    if scale >= 1:
        return size
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def reduced(photo: Photo, kept: Size) -> Pixels:
    """The photo's pixels at that size, by area averages of the smallest JPEG scale that has enough."""
    width, height = photo.size
    factor = min(width / kept[0], height / kept[1])
    pixels = photo.read(next(step for step in (8, 4, 2, 1) if factor >= step or step == 1))
    if pixels.shape[1::-1] == kept:
        return pixels
    return np.asarray(cv2.resize(pixels, kept, interpolation=cv2.INTER_AREA), np.uint8)


class MemoryPhotos:
    """All photos in one block of memory, which workers share."""

    def __init__(self, records: Sequence[Record], network: InputSpec, headroom: float) -> None:
        """Decodes all. Raises `DataError` for a file that cannot be read, `UsageError` where memory is short."""
        self._sizes, self._kept = _sizes(records, network, headroom)
        lengths = [width * height * 3 for width, height in self._kept]
        self._starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        needed = int(self._starts[-1])
        instead = "use cache disk, bytes or none, or a smaller input"
        require_memory(needed, f"cache 'ram' of {len(records)} decoded photos", instead)
        self._block = SharedBytes(needed)

        def fill(index: int) -> None:
            self._pixels(index)[:] = reduced(open_photo(records[index].path), self._kept[index])

        _in_threads(fill, range(len(records)))
        self.said = f"{len(records)} decoded photos, {megabytes(needed)} of memory"

    def photo(self, index: int) -> Photo:
        """The pixels that are kept."""
        return StoredPhoto(self._pixels(index), self._sizes[index])

    def _pixels(self, index: int) -> Pixels:
        """One photo's part of the block [h, w, 3]."""
        width, height = self._kept[index]
        return self._block.bytes[self._starts[index] : self._starts[index + 1]].reshape(height, width, 3)


class DiskPhotos:
    """One file of pixels per photo in the cache folder, named by what it was made from and how."""

    def __init__(self, records: Sequence[Record], network: InputSpec, headroom: float) -> None:
        """Decodes what is not there. Raises `DataError`, and `UsageError` where the disk is full."""
        self._paths = [record.path for record in records]
        self._sizes, self._kept = _sizes(records, network, headroom)
        self._folder = make_folder(cache_folder() / "decoded")
        self._files = [self._folder / _name(path, kept) for path, kept in zip(self._paths, self._kept, strict=True)]
        missing = [index for index in range(len(records)) if not self._is_whole(index)]
        needed = sum(self._length(index) for index in missing)
        instead = "use cache bytes or none, a smaller input, or another folder by MULTIBOX_CACHE"
        require_disk(needed, self._folder, f"cache 'disk' of {len(missing)} more decoded photos", instead)
        _in_threads(self._write, missing)
        total = sum(self._length(index) for index in range(len(records)))
        self.said = f"{len(records)} decoded photos, {megabytes(total)} in {self._folder} ({len(missing)} new)"

    def photo(self, index: int) -> Photo:
        """The file's pixels, mapped; the photo itself where somebody took the file away meanwhile."""
        width, height = self._kept[index]
        if not self._is_whole(index):
            return EncodedPhoto(read_bytes(self._paths[index]), str(self._paths[index]))
        pixels = np.memmap(self._files[index], np.uint8, "r", shape=(height, width, 3))
        return StoredPhoto(pixels.view(np.ndarray), self._sizes[index])

    def _write(self, index: int) -> None:
        """Makes one file, whole or not at all; several trainings may do so at once."""
        pixels = reduced(open_photo(self._paths[index]), self._kept[index])
        make_folder(self._files[index].parent)
        with placed(self._files[index]) as part:
            part.write_bytes(np.ascontiguousarray(pixels).data)

    def _length(self, index: int) -> int:
        """Bytes of one file."""
        return math.prod(self._kept[index]) * 3

    def _is_whole(self, index: int) -> bool:
        """Whether the file is there with all its pixels."""
        try:
            return self._files[index].stat().st_size == self._length(index)
        except OSError:
            return False


def _sizes(records: Sequence[Record], network: InputSpec, headroom: float) -> tuple[list[Size], list[Size]]:
    """(sizes of all photos by their headers, sizes that are kept)."""
    sizes = [read_size(record.path) for record in records]
    return sizes, [kept_size(size, network, headroom) for size in sizes]


def _name(path: Path, kept: Size) -> str:
    """The file of a photo: another one once the photo has changed, or its size that is kept."""
    found = path.stat()
    words = (_VERSION, str(path.resolve()), str(found.st_size), str(found.st_mtime_ns), f"{kept[0]}x{kept[1]}")
    digest = hashlib.sha256("\0".join(words).encode()).hexdigest()
    return f"{digest[:2]}/{digest[2:34]}.rgb"


def _in_threads(action: Callable[[int], None], indexes: Iterable[int]) -> None:
    """The action for every index; decoding and writing run beside each other. Raises what the first failure raised."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            for _ in pool.map(action, indexes):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
