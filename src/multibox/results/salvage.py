"""An .mp4 whose writing was broken off (a full disk) is cut to its whole fragments, so that it plays."""

from __future__ import annotations

import os
from pathlib import Path

_HEAD = 8
"""Bytes of a box's size and kind; a size of 1 means that 8 bytes with the size follow."""


def cut_to_fragments(path: Path) -> bool:
    """Cuts the file behind its last whole fragment; false, and nothing is done, where there is none."""
    end, index, fragment = 0, False, False
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        at = 0
        while (box := _box(file.read(16))) is not None and at + box[0] <= size:
            at += box[0]
            index = index or box[1] == b"moov"
            fragment = fragment or box[1] == b"moof"
            if index and (fragment or end == 0) and box[1] == b"mdat":
                end, fragment = at, False
            file.seek(at)
        if end:
            file.truncate(end)
    return end > 0


def _box(head: bytes) -> tuple[int, bytes] | None:
    """Size and kind of the box that begins so; none where it is not all there or has no size."""
    if len(head) < _HEAD:
        return None
    size = int.from_bytes(head[:4])
    if size == 1 and len(head) == 2 * _HEAD:
        size = int.from_bytes(head[_HEAD:])
    return (size, head[4:8]) if size >= _HEAD else None
