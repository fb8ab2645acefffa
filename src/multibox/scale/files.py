"""Files on disks and in object stores alike: found, read, and written complete or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import fs as pafs

from multibox.errors import DataError, MultiboxError, UsageError

_WHOLE_AT_ONCE = ("s3", "gcs", "abfs")
"""Stores in which an object appears when all of it was sent, so that no other name is needed on the way."""

_CHUNK = 8 << 20


class Place(NamedTuple):
    """Where something lies: a file system of pyarrow, and the path as that file system calls it."""

    fs: Any
    path: str

    def beside(self, name: str) -> Place:
        """The place of `name` inside this folder."""
        return Place(self.fs, f"{self.path.rstrip('/')}/{name}")


def locate(text: str) -> Place:
    """The place of a path, or of an address such as s3://bucket/folder or file:///folder.

    Keys and regions of a store come from its own environment variables. Raises `UsageError` for an unknown scheme.
    """
    scheme, mark, rest = text.partition("://")
    if not mark:
        return Place(_store("file", "").fs, str(Path(text).expanduser().absolute()))
    host = rest.partition("/")[0]
    root = _store(scheme, host)
    return Place(root.fs, root.path.rstrip("/") + rest[len(host) :])


@lru_cache(maxsize=64)
def _store(scheme: str, host: str) -> Place:
    """The file system of a scheme and a bucket, opened once per process, and the bucket's path in it."""
    if scheme == "file":
        return Place(pafs.LocalFileSystem(), "")
    try:
        return Place(*pafs.FileSystem.from_uri(f"{scheme}://{host}"))
    except pa.ArrowInvalid:  # not one of pyarrow's own
        return Place(_from_fsspec(scheme), host)
    except OSError as error:
        raise DataError(f"{scheme}://{host}: cannot be opened ({short(error)})") from None


def _from_fsspec(scheme: str) -> Any:
    """A store that only fsspec knows."""
    try:
        import fsspec

        return pafs.PyFileSystem(pafs.FSSpecHandler(fsspec.filesystem(scheme)))
    except (ImportError, ValueError) as error:
        raise UsageError(f"{scheme}://: no file system of that name can be opened here ({short(error)})") from None


def short(error: BaseException) -> str:
    """What a store's message says, on one line and without its tail."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:300]


def is_folder(text: str) -> bool | None:
    """Whether something is a folder (False: a file); None where nothing is there."""
    place = locate(text)
    try:
        kind = place.fs.get_file_info(place.path).type
    except OSError as error:
        raise DataError(f"{text}: cannot be looked at ({short(error)})") from None
    return None if kind == pafs.FileType.NotFound else bool(kind == pafs.FileType.Directory)


def walk(folder: str) -> Iterator[str]:
    """All files below a folder in no order, as paths or addresses like `folder`; hidden ones are left out.

    On disk one name is held at a time, in a store the names of one folder. Links to folders are not followed.
    """
    listed = _walk_store if "://" in folder else _walk_disk
    yield from listed(folder.rstrip("/") or "/")


def _walk_disk(folder: str) -> Iterator[str]:
    waiting = [str(Path(folder).expanduser().absolute())]
    while waiting:
        at = waiting.pop()
        try:
            with os.scandir(at) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file():
                        yield entry.path
        except OSError as error:
            raise DataError(f"{at}: this folder cannot be listed ({short(error)})") from None


def _walk_store(folder: str) -> Iterator[str]:
    place = locate(folder)
    scheme, _, rest = folder.partition("://")
    host = rest.partition("/")[0]
    base = _store(scheme, host).path.rstrip("/")
    waiting = [place.path]
    while waiting:
        at = waiting.pop()
        try:
            infos = place.fs.get_file_info(pafs.FileSelector(at, recursive=False))
        except OSError as error:
            raise DataError(f"{scheme}://{at}: this folder cannot be listed ({short(error)})") from None
        for info in infos:
            if info.base_name.startswith("."):
                continue
            if info.type == pafs.FileType.Directory:
                waiting.append(info.path)
            else:
                path = info.path if base.startswith("/") or not base else info.path.lstrip("/")
                yield f"{scheme}://{host}{path[len(base) :]}"


def read(text: str) -> bytes:
    """A picture's bytes. Raises `DataError` naming it."""
    try:
        return content(locate(text))
    except FileNotFoundError:
        raise DataError(f"no such image file: {text}") from None
    except OSError as error:
        raise DataError(f"{text}: cannot be read ({short(error)})") from None


def content(place: Place) -> bytes:
    """A file's content. Raises `OSError`."""
    with place.fs.open_input_stream(place.path) as file:
        data: bytes = file.read()
        return data


def write(place: Place, content: bytes | Path) -> None:
    """Writes a file, from bytes or as a copy of a local one: complete, over an older one, or not at all.

    Raises `MultiboxError` where that is not possible.
    """
    folder, _, name = place.path.rpartition("/")
    at_once = place.fs.type_name in _WHOLE_AT_ONCE
    part = place.path if at_once else f"{folder}/.{name}.{uuid.uuid4().hex}.part"
    try:
        if not at_once:
            place.fs.create_dir(folder, recursive=True)
        with place.fs.open_output_stream(part) as sink:
            for chunk in _chunks(content):
                sink.write(chunk)
        if not at_once:
            place.fs.move(part, place.path)
    except OSError as error:
        if not at_once:
            with suppress(OSError):
                place.fs.delete_file(part)
        raise MultiboxError(f"{place.path}: cannot be written ({short(error)}); choose another --output") from None


def _chunks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def names_in(folder: Place) -> list[str]:
    """The names of the files directly in a folder; none where it is not there."""
    try:
        infos = folder.fs.get_file_info(pafs.FileSelector(folder.path, recursive=False, allow_not_found=True))
    except OSError as error:
        raise MultiboxError(f"{folder.path}: cannot be listed ({short(error)})") from None
    return [info.base_name for info in infos if info.type == pafs.FileType.File]


def remove(place: Place) -> None:
    """Removes a file, if it is there."""
    with suppress(OSError):
        place.fs.delete_file(place.path)
