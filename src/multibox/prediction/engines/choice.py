"""Which of two runtimes runs a file faster on this machine: measured when somebody asks, and remembered from then on.

Small networks tend to be faster on ONNX Runtime and large ones on OpenVINO, but it depends on the CPU, the threads and
the precision; only the clock knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from multibox.installed import version_of
from multibox.results.files import make_folder, write_text
from multibox.weights.cache import cache_folder

_NAME = "engines.json"
_MOST = 200
"""Files that are remembered; the oldest goes first."""


def remember(file: Path, times: Mapping[str, float]) -> str:
    """Keeps the fastest engine of a race for this file, with these versions of the runtimes; returns its name.

    Raises `MultiboxError` where the cache cannot be written.
    """
    fastest = min(times, key=lambda name: times[name])
    known = _known()
    known.pop(key := _key(file), None)
    known[key] = fastest
    kept = dict(list(known.items())[-_MOST:])
    write_text(make_folder(cache_folder()) / _NAME, json.dumps(kept, indent=1) + "\n")
    return fastest


def remembered(file: Path) -> str | None:
    """The engine that won the race of this very file, if there was one with these versions of the runtimes."""
    known = _known()
    return known.get(_key(file)) if known else None


def _known() -> dict[str, str]:
    """What is remembered; nothing where the file is absent or broken."""
    try:
        found = json.loads((cache_folder() / _NAME).read_text(encoding="utf-8"))
        return {str(key): str(name) for key, name in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _key(file: Path) -> str:
    """The file as it is now, and the runtimes as they are now."""
    facts = file.stat()
    versions = (f"{name} {version_of(name)}" for name in ("openvino", "onnxruntime"))
    return " | ".join([str(file.resolve()), str(facts.st_size), str(facts.st_mtime_ns), *versions])
