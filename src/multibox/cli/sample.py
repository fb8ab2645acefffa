"""The photograph for a first try: one that a dependency installs anyway."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from multibox.errors import UsageError


def sample_photo() -> Path:
    """matplotlib's portrait of Grace Hopper, found without importing matplotlib. Raises `UsageError` where absent."""
    spec = find_spec("matplotlib")
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else Path()
    path = folder / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    if not path.is_file():
        raise UsageError("name an image, a video or a folder: the sample photograph is not installed")
    return path
