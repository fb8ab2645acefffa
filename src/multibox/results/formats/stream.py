"""A JSON list that is written element by element."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from multibox.results.files import AtomicFile


class JsonList:
    """Writes `head`, a list with one element per line, and `tail`; valid JSON once closed."""

    def __init__(self, path: Path, head: str = "[", tail: str = "]") -> None:
        """Opens the file; `head` ends with the list's opening bracket, `tail` begins with the closing one."""
        self._file = AtomicFile(path, f"\n{tail}\n")
        self._between = "\n"
        self._file.write(head)

    def add(self, element: Any) -> None:
        """Adds one element."""
        self._file.write(self._between + json.dumps(element, ensure_ascii=False))
        self._between = ",\n"

    def close(self) -> None:
        """Ends the list and puts the file in its place."""
        self._file.keep()

    def discard(self) -> None:
        """Removes the unfinished file."""
        self._file.discard()
