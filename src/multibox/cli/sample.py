"""The photograph for a first try: one that a dependency installs anyway."""

from __future__ import annotations

from pathlib import Path

from multibox import installed
from multibox.errors import UsageError


def sample_photo() -> Path:
    """A portrait of Grace Hopper. Raises `UsageError` where it is absent."""
    path = installed.sample_photo()
    if path is None:
        raise UsageError("name an image, a video or a folder: the sample photograph is not installed")
    return path
