"""Zip archives: one weights file among others is taken out of them, and those that claim too much are refused."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from multibox.errors import ModelError

_ENDINGS = (".tflite", ".safetensors", ".pth", ".pt", ".caffemodel", ".ckpt", ".params")
_HARMLESS, _RATIO = 100_000_000, 20
"""Bytes, and times an archive's own size, which it may unpack to; numbers of weights hardly get smaller."""
_DAMAGED = (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error)
"""What Python's reader raises for archives that are cut off, damaged or locked."""


def is_archive(head: bytes) -> bool:
    """Whether a file that begins so is a zip archive."""
    return head[:4] == b"PK\x03\x04"


def weights_inside(path: Path) -> str | None:
    """The one member whose ending is that of weights; none where there is none, as in what `torch.save` writes, and
    where the archive is damaged, which its reader says.

    Raises `ModelError` for several, and for an archive that would unpack to many times its size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _DAMAGED:
        return None
    size, claimed = path.stat().st_size, sum(member.file_size for member in members)
    if claimed > max(_HARMLESS, _RATIO * size):
        raise ModelError(f"{path}: an archive of {size:,} bytes that claims to hold {claimed:,}; it is not unpacked")
    names = [member.filename for member in members if member.filename.lower().endswith(_ENDINGS)]
    if len(names) > 1:
        raise ModelError(f"{path}: holds {len(names)} files with weights; unpack it and give one of them")
    return names[0] if names else None


def take_out(path: Path, member: str, folder: Path) -> Path:
    """Unpacks one member into a folder, whatever folders its own name has. Raises `ModelError`."""
    inner = folder / PurePosixPath(member).name
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as source, inner.open("wb") as target:
            shutil.copyfileobj(source, target)
    except _DAMAGED as error:
        raise ModelError(f"{path}: an archive that cannot be unpacked ({error}); copy it again") from None
    return inner
