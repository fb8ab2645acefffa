"""Which words name a live source (a camera, an address of a stream), and how it is called in output."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

_STREAMS = frozenset(("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt"))
_WEB = frozenset(("http", "https"))
_LIVE_SUFFIXES = frozenset((".m3u8", ".mpd", ".mjpeg", ".mjpg"))
"""Web addresses that end so are streams. Another suffix of a picture or a video is that of a file."""

_CAMERA = re.compile(r"camera:(\d+)")


def camera_number(text: str) -> int | None:
    """The number of a camera out of `camera:0`, or `0` where no file has that name; none for other words."""
    named = _CAMERA.fullmatch(text)
    if named is not None:
        return int(named[1])
    plain = text.isascii() and text.isdecimal() and len(text) <= 3
    return int(text) if plain and not Path(text).exists() else None


def is_stream(text: str, files: frozenset[str]) -> bool:
    """Whether this is the address of a stream; `files` are the suffixes of pictures and videos, which are not."""
    try:
        parts = urlsplit(text)
    except ValueError:  # a broken IPv6 address
        return False
    if parts.scheme.lower() in _STREAMS:
        return bool(parts.netloc)
    suffix = Path(parts.path).suffix.lower()
    return parts.scheme.lower() in _WEB and bool(parts.netloc) and (suffix in _LIVE_SUFFIXES or suffix not in files)


def shown(address: str) -> str:
    """The address as it may be printed: without user, password and what follows a question mark."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def output_name(address: str) -> str:
    """A name for files: `rtsp://cam.local:554/live/1` is `cam.local_554_live_1`, `camera:0` is `camera_0`."""
    bare = shown(address).partition("://")[2] or address
    return re.sub(r"[^A-Za-z0-9.-]+", "_", bare).strip("_.") or "stream"
