"""What a JPEG file says about itself before its pixels are decoded: size, channels, and whether it is whole."""

from __future__ import annotations

from dataclasses import dataclass

_SOI = b"\xff\xd8\xff"
_EOI = b"\xff\xd9"
_SOS = 0xDA
_APP1 = 0xE1
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_NOT_FRAMES = frozenset({0xC4, 0xC8, 0xCC})


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """Size in pixels as stored (before any EXIF rotation), channels (1, 3 or 4), and what the file holds.

    `complete` is false where no end-of-image marker follows the first scan: the file was cut, or lacks only the marker.
    """

    width: int
    height: int
    channels: int
    has_exif: bool
    complete: bool


def read_header(data: bytes) -> JpegHeader | None:
    """The header of a JPEG file in some ten microseconds; None where `data` is no JPEG or ends before its first scan.

    The end marker is looked for behind the first scan only, since an EXIF thumbnail before it ends with one of its own.
    Bytes after the end marker are tolerated.
    """
    if not data.startswith(_SOI):
        return None
    frame: tuple[int, int, int] | None = None
    has_exif = False
    at, size = 2, len(data)
    while at + 4 <= size:
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # padding before a marker
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        if marker == _SOS:
            complete = data.endswith(_EOI) or data.find(_EOI, at) >= 0  # the first is the rule, and instant
            return JpegHeader(*frame, has_exif, complete) if frame else None
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES and at + 10 <= size:
            height = int.from_bytes(data[at + 5 : at + 7])
            frame = (int.from_bytes(data[at + 7 : at + 9]), height, data[at + 9])
        elif marker == _APP1:
            has_exif = has_exif or data.startswith(b"Exif\x00", at + 4)
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None
