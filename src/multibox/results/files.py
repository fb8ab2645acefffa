"""Output that is complete or absent: files written beside their place and renamed, run folders never overwritten."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from multibox.errors import MultiboxError


def refusal(path: Path, error: OSError) -> MultiboxError:
    """The sentence for a place that cannot be written."""
    return MultiboxError(f"{path}: cannot be written ({error.strerror or error}); choose another place with --project")


def make_folder(path: Path) -> Path:
    """The folder, made with its parents. Raises `MultiboxError` where that is not allowed."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(path, error) from None
    return path


def run_folder(project: Path, name: str, *, exist_ok: bool = False) -> Path:
    """A new folder `project/name`, or `name2`, `name3` ... where it exists; with `exist_ok` the same one again."""
    if exist_ok:
        return make_folder(project / name)
    make_folder(project)
    number = 1
    while True:
        folder = project / (name if number == 1 else f"{name}{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise refusal(folder, error) from None
        else:
            return folder


class AtomicFile:
    """A text file that appears under its name only when it is complete: `write`, then `keep` or `discard`."""

    def __init__(self, path: Path) -> None:
        """Opens a hidden file beside `path`. Raises `MultiboxError` where the folder cannot be written."""
        self._path = path
        make_folder(path.parent)
        self._part = part_of(path)
        try:
            self._file: IO[str] = self._part.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise refusal(path, error) from None

    def write(self, text: str) -> None:
        """Adds text. Raises `MultiboxError` (a full disk) and leaves nothing behind."""
        try:
            self._file.write(text)
        except OSError as error:
            self.discard()
            raise refusal(self._path, error) from None

    def keep(self) -> None:
        """Puts the complete file in its place, over an older one."""
        try:
            self._file.close()
            self._part.replace(self._path)
        except OSError as error:
            self.discard()
            raise refusal(self._path, error) from None

    def discard(self) -> None:
        """Removes what was written; the older file, if any, stays."""
        with suppress(OSError):  # a full disk refuses the last buffer once more; the file is removed anyway
            self._file.close()
        self._part.unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """The hidden name under which `path` is written; it keeps the suffix, by which encoders choose the format."""
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """Yields the hidden name to write to; puts the file in its place, or removes it where the block failed."""
    make_folder(path.parent)
    part = part_of(path)
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise refusal(path, error) from None
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a whole small file at once, complete or not at all."""
    with placed(path) as part:
        part.write_text(text, encoding="utf-8")
