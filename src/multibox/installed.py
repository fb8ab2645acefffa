"""What is installed here, told without importing it."""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path


def is_installed(package: str) -> bool:
    """Whether `package`, by the name in an import, can be imported."""
    return _origin(package) is not None


def version_of(distribution: str) -> str | None:
    """The version, by the name that was installed; none where there is no such."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def sample_photo() -> Path | None:
    """matplotlib's portrait of Grace Hopper, a real photograph that many installations have; none where absent."""
    return matplotlib_file("sample_data/grace_hopper.jpg")


def matplotlib_file(name: str) -> Path | None:
    """A file of matplotlib's data folder by its path in there; none where it is absent."""
    origin = _origin("matplotlib")
    path = Path(origin).parent / "mpl-data" / name if origin else None
    return path if path is not None and path.is_file() else None


def _origin(package: str) -> str | None:
    """The file that an import would begin with; a word of no meaning for packages without one."""
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:  # the package around it is absent
        return None
    return None if spec is None else spec.origin or ""
