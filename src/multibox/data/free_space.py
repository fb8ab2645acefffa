"""How much memory and disk is left, and a sentence where something does not fit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from multibox.errors import UsageError

_LEFT = 0.1
"""Share of what is free that must stay free."""


def require_memory(needed: int, what: str, instead: str) -> None:
    """Raises `UsageError` where `needed` bytes are more than nine tenths of the free memory, if that is known."""
    free = free_memory()
    if free is not None and needed > (1 - _LEFT) * free:
        raise UsageError(f"{what} needs {megabytes(needed)} of memory and {megabytes(free)} are free; {instead}")


def require_disk(needed: int, folder: Path, what: str, instead: str) -> None:
    """Raises `UsageError` where `needed` bytes are more than nine tenths of what is free on the disk of a folder."""
    free = shutil.disk_usage(folder).free
    if needed > (1 - _LEFT) * free:
        raise UsageError(f"{what} needs {megabytes(needed)} in {folder} and {megabytes(free)} are free; {instead}")


def megabytes(count: int) -> str:
    """Bytes as a person reads them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def free_memory() -> int | None:
    """Bytes that can be taken without swapping, within a container's limit; none where the system tells neither."""
    found = [count for count in (_available(), _below_limit()) if count is not None]
    return min(found) if found else None


def _available() -> int | None:
    """Of the machine."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _below_limit(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Of the container (cgroup 2); pages of files that it may drop count as free."""
    try:
        limit = (root / "memory.max").read_text(encoding="ascii").strip()
        used = int((root / "memory.current").read_text(encoding="ascii"))
        rows = (line.split() for line in (root / "memory.stat").read_text(encoding="ascii").splitlines())
        inactive = next((int(row[1]) for row in rows if row[0] == "inactive_file"), 0)
        return None if limit == "max" else max(0, int(limit) - used + inactive)
    except (OSError, ValueError):
        return None
