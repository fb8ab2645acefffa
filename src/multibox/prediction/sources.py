"""What a user may name as a source, found and listed before anything is decoded.

A source is an image file, a video file, a folder (with its subfolders), a glob, a camera (`camera:0`, or its number),
the address of a stream (`rtsp://...`, `http://.../live.m3u8`), encoded bytes, a NumPy array ([H, W], [H, W, 3] RGB or
[H, W, 4]), a Pillow image, or an iterable of those. A source that cannot be found becomes an entry with an error, so
that the others are still processed.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from multibox.prediction.addresses import camera_number, is_stream, output_name
from multibox.prediction.video import VIDEO_SUFFIXES, is_video, read_info

Pixels = str | Path | bytes | npt.NDArray[np.generic] | Image.Image
Source = Pixels | int | Iterable["Source"]

PICTURE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff"),
        *(".gif", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".ico"),
    )
)
"""Files with these suffixes are taken out of folders; a file named by itself may have any."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One picture, video or live source that was found, not yet read; or, with `error`, why there is none.

    `address` is that of a live source (a stream's, or `camera:N`). `pixels` is what `read_image` takes. `name` is the
    output name without suffix: the place below the folder that was searched, so that two folders' pictures keep apart.
    """

    name: str
    path: Path | None = None
    pixels: Pixels | None = None
    video: bool = False
    address: str | None = None
    error: str | None = None


def expand(source: Source | Entry | Iterable[Source | Entry]) -> Iterator[Entry]:
    """The entries of a source in a stable order (names sorted inside a folder), lazily for an iterable."""
    for number, single in enumerate(_flat(source), 1):
        if isinstance(single, Entry):
            yield single
        elif isinstance(single, str | Path):
            yield from _expand_text(str(single))
        elif isinstance(single, int):
            yield _of_camera(single)
        else:
            yield Entry(name=f"image_{number:06d}", pixels=single)


def count(entries: Iterable[Entry], stride: int = 1) -> int | None:
    """How many pictures and frames there will be, by the headers of videos; none where one does not tell or is live."""
    total = 0
    for entry in entries:
        if entry.address is not None:
            return None
        frames = read_info(entry.path).frames if entry.video and entry.path is not None else stride
        if frames is None:
            return None
        total += -(-frames // stride)
    return total


def _flat(source: Source | Entry | Iterable[Source | Entry]) -> Iterator[Pixels | int | Entry]:
    """Single sources out of nested lists; an array [N, H, W, C] counts as a list."""
    single = isinstance(source, str | Path | bytes | Image.Image | Entry)
    if single or (isinstance(source, np.ndarray) and source.ndim != 4) or _is_number(source):
        yield cast("Pixels | int | Entry", source)
    elif isinstance(source, Iterable):
        for part in source:
            yield from _flat(part)
    else:
        yield Entry(name="source", error=f"a {type(source).__name__} is not an image, a path, or a list of those")


def _is_number(source: object) -> bool:
    """Whether this can be the number of a camera."""
    return isinstance(source, int) and not isinstance(source, bool) and source >= 0


def _expand_text(text: str) -> Iterator[Entry]:
    """A live source, or files."""
    number = camera_number(text)
    if number is not None:
        yield _of_camera(number)
    elif is_stream(text, PICTURE_SUFFIXES | VIDEO_SUFFIXES):
        yield Entry(name=output_name(text), address=text)
    else:
        yield from _expand_path(text)


def _of_camera(number: int) -> Entry:
    """The entry of a camera."""
    return Entry(name=f"camera_{number}", address=f"camera:{number}")


def _expand_path(text: str) -> Iterator[Entry]:
    """A file, a folder or a glob."""
    path = Path(text).expanduser()
    try:
        if path.is_dir():
            yield from _expand_folder(path)
        elif path.exists():
            yield _of_file(path, path.stem)
        elif glob.has_magic(text):
            yield from _expand_glob(text)
        else:
            yield _broken(text, _absent(text))
    except (OSError, ValueError) as error:  # no permission, a null byte, a name that is too long
        yield _broken(text, f"{text}: cannot be opened ({getattr(error, 'strerror', None) or error})")


def _absent(text: str) -> str:
    """The sentence for a path that is not there."""
    if "://" in text:
        return f"{text}: addresses of files are not fetched; download the file and name it here"
    return f"{text}: no such file or folder"


def _expand_folder(folder: Path) -> Iterator[Entry]:
    """All pictures and videos below a folder, hidden ones left out."""
    found = False
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        known = path.suffix.lower() in PICTURE_SUFFIXES | VIDEO_SUFFIXES
        if known and not any(part.startswith(".") for part in inside.parts) and path.is_file():
            found = True
            yield _of_file(path, inside.with_suffix("").as_posix())
    if not found:
        yield _broken(str(folder), f"{folder}: no images or videos in this folder")


def _expand_glob(pattern: str) -> Iterator[Entry]:
    """All files that a pattern names, `**` included; folders that match are passed over."""
    paths = [Path(match) for match in sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))]  # noqa: PTH207
    files = [path for path in paths if path.is_file()]
    if not files:
        yield _broken(pattern, f"{pattern}: no file matches this pattern")
    for path in files:
        yield _of_file(path, path.stem)


def _of_file(path: Path, name: str) -> Entry:
    """The entry of one file."""
    return Entry(name=name, path=path, pixels=path, video=is_video(path))


def _broken(text: str, error: str) -> Entry:
    """The entry of a source that is not there."""
    return Entry(name=Path(text.replace("\0", "")).stem or "source", path=Path(text), error=error)
