"""Where is kept what can be fetched or measured again."""

from __future__ import annotations

import os
from pathlib import Path

CACHE = "MULTIBOX_CACHE"


def cache_folder() -> Path:
    """`MULTIBOX_CACHE`, or `multibox` in the user's folder of caches."""
    named = os.environ.get(CACHE)
    return Path(named).expanduser() if named else user_caches() / "multibox"


def user_caches() -> Path:
    """The folder in which programs keep what they can fetch again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
