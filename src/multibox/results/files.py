"""Output that is complete or absent: files written beside their place and renamed, run folders never overwritten."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from multibox.errors import MultiboxError

_LONGEST_LINE = 1 << 20
"""Bytes at the end of a file in which the end of a line is looked for."""


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
    """A text file that appears under its name only when it is complete: `write`, then `keep` or `discard`.

    With a `tail`, which `keep` writes last, a full disk is no reason to lose it: the whole lines up to then are kept, a
    comma behind them taken off, and the tail.
    """

    def __init__(self, path: Path, tail: str | None = None) -> None:
        """Opens a hidden file beside `path`. Raises `MultiboxError` where the folder cannot be written."""
        self._path, self._tail, self._ended = path, tail, False
        make_folder(path.parent)
        self._part = part_of(path)
        try:
            self._file: IO[str] = self._part.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise refusal(path, error) from None

    def write(self, text: str) -> None:
        """Adds text. Raises `MultiboxError` (a full disk) and leaves nothing behind, or what a `tail` allows."""
        try:
            self._file.write(text)
        except OSError as error:
            self._give_up()
            raise refusal(self._path, error) from None

    def keep(self) -> None:
        """Puts the complete file in its place, over an older one; nothing, where `write` failed before."""
        if self._ended:
            return
        try:
            self._file.write(self._tail or "")
            self._file.close()
            self._part.replace(self._path)
            self._ended = True
        except OSError as error:
            self._give_up()
            raise refusal(self._path, error) from None

    def _give_up(self) -> None:
        """Keeps the whole lines where a tail allows that, else removes all."""
        with suppress(OSError):
            self._file.close()
        if self._tail is not None:
            with suppress(OSError):
                _end_after_lines(self._part, self._tail)
                self._part.replace(self._path)
        self.discard()

    def discard(self) -> None:
        """Removes what was written; the older file, if any, stays."""
        self._ended = True
        with suppress(OSError):  # a full disk refuses the last buffer once more; the file is removed anyway
            self._file.close()
        self._part.unlink(missing_ok=True)


def _end_after_lines(path: Path, tail: str) -> None:
    """Cuts a file behind its last whole line, takes a comma off and adds the tail. Raises `OSError`."""
    with path.open("r+b") as file:
        start = max(0, file.seek(0, os.SEEK_END) - _LONGEST_LINE)
        file.seek(start)
        end = file.read()
        file.seek(start + len(end[: max(0, end.rfind(b"\n"))].rstrip(b",")))
        file.truncate()
        file.write(tail.encode())


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
