"""Where a training's photos come from: their files, their files' bytes in memory, or decoded pixels kept before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from multibox.data.dataset import Record
from multibox.data.decoded import DiskPhotos, MemoryPhotos
from multibox.data.free_space import megabytes, require_memory
from multibox.data.photo import EncodedPhoto, Photo, open_photo
from multibox.images.read import read_bytes
from multibox.spec import InputSpec

CacheKind = Literal["none", "bytes", "ram", "disk"]

Cache = CacheKind | bool
"""As options name it; true stands for `bytes`, false for `none`."""


class Photos(Protocol):
    """The photos of all records; instances travel to worker processes by pickle."""

    said: str
    """What is kept where, for a person; empty for nothing."""

    def photo(self, index: int) -> Photo:
        """That of one record. Raises `DataError` for one that cannot be read."""
        ...


def open_photos(kind: Cache, records: Sequence[Record], network: InputSpec, headroom: float) -> Photos:
    """The photos of these records.

    `ram` and `disk` keep decoded pixels, not larger than `headroom` times what the network's input shows of a whole
    photo. Raises `DataError` for a file that cannot be read, `UsageError` where there is no room.
    """
    if kind in ("bytes", True):
        return BytesPhotos(records)
    if kind == "ram":
        return MemoryPhotos(records, network, headroom)
    if kind == "disk":
        return DiskPhotos(records, network, headroom)
    return FilePhotos(records)


class FilePhotos:
    """Read from their files each time."""

    said = ""

    def __init__(self, records: Sequence[Record]) -> None:
        """Nothing is read yet."""
        self._records = records

    def photo(self, index: int) -> Photo:
        """The file, read."""
        return open_photo(self._records[index].path)


class BytesPhotos:
    """The files' bytes in memory, read at once so that forked workers share them."""

    def __init__(self, records: Sequence[Record]) -> None:
        """Raises `DataError` for a file that cannot be read, `UsageError` where memory is short."""
        needed = sum(record.path.stat().st_size for record in records if record.path.is_file())
        require_memory(needed, f"cache 'bytes' of {len(records)} files", "use cache none")
        self._names = [str(record.path) for record in records]
        self._bytes = [read_bytes(record.path) for record in records]
        self.said = f"the bytes of {len(records)} files, {megabytes(needed)} of memory"

    def photo(self, index: int) -> Photo:
        """The bytes, still to be decoded."""
        return EncodedPhoto(self._bytes[index], self._names[index])
