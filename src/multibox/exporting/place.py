"""Files that come into being whole or not at all: written into a folder beside their place, then moved there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from multibox.errors import ExportError


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """The place to write `path` to: the same name in a folder beside it, which is gone afterwards, whatever happens.

    Everything in that folder (OpenVINO writes two files) is moved to its place at the end, unless something was raised.
    Raises `ExportError` where the folder cannot be written or the disk is full.
    """
    folder = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _said(path):
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with _said(path):
            yield folder / path.name
            for file in sorted(folder.iterdir(), key=lambda file: file.name == path.name):  # the named file last
                file.replace(path.with_name(file.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _said(path: Path) -> Iterator[None]:
    """Failures of the disk as one sentence."""
    try:
        yield
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error.strerror or error})") from None
