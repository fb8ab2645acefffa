"""What is to be predicted: pictures of folders in sorted order, then the rows of Parquet tables, one at a time."""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from multibox.errors import DataError
from multibox.prediction.sources import PICTURE_SUFFIXES
from multibox.scale.files import is_folder, walk
from multibox.scale.tables import read_rows

_RUN = 500_000
"""Paths that are sorted in memory at once (about 75 MB)."""
_TABLE = ".parquet"


class Picture(NamedTuple):
    """One picture: what results call it, and where its bytes are: at `path`, or in row group `group` of `table`."""

    id: str
    path: str | None
    table: str | None = None
    group: int = 0


def list_pictures(sources: Sequence[str], scratch: Path) -> Iterator[Picture]:
    """The pictures of folders, picture files and Parquet tables (folders of tables too), always in the same order.

    Paths are sorted, and one that is named twice is taken once; rows of tables come after them, as they stand there.
    Sorting uses files in the folder `scratch`, so that memory does not grow with their number. Raises `DataError` for
    a source that is not there and for a table without pictures.
    """
    paths = _Sorted(scratch / "paths")
    tables = _Sorted(scratch / "tables")
    for source in sources:
        for path in _files(source):
            (tables if _suffix(path) == _TABLE else paths).add(path)
    for path in paths:
        yield Picture(path, path)
    for table in tables:
        for row in read_rows(table):
            yield Picture(row.id, row.path, table if row.path is None else None, row.group)


def _files(source: str) -> Iterator[str]:
    """The file itself, whatever its name; or all pictures and tables below the folder, without tables `_...`."""
    folder = is_folder(source)
    if folder is None:
        raise DataError(f"{source}: no such file or folder")
    if not folder:
        yield source if "://" in source else str(Path(source).expanduser().absolute())
        return
    for path in walk(source):
        suffix = _suffix(path)
        if suffix in PICTURE_SUFFIXES or (suffix == _TABLE and not path.rpartition("/")[2].startswith("_")):
            yield path


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122  addresses too, millions of times


class _Sorted:
    """Texts in sorted order, each once, of which few are in memory at a time: runs on disk, merged."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._waiting, self._runs = folder, list[str](), list[Path]()

    def add(self, text: str) -> None:
        try:
            text.encode()
        except UnicodeEncodeError:
            shown = text.encode(errors="backslashreplace").decode()
            raise DataError(f"{shown}: its name is not UTF-8, which a table cannot hold; rename it") from None
        self._waiting.append(text)
        if len(self._waiting) >= _RUN:
            self._spill()

    def __iter__(self) -> Iterator[str]:
        self._waiting.sort()
        runs = [_read(run) for run in self._runs]
        yield from (text for text, _ in groupby(heapq.merge(*runs, self._waiting)))

    def _spill(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        run = self._folder / f"{len(self._runs)}.jsonl"
        with run.open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(text)}\n" for text in sorted(self._waiting))
        self._runs.append(run)
        self._waiting.clear()


def _read(run: Path) -> Iterator[str]:
    with run.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def cut(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    """The shards: `size` pictures each; of a table with bytes whole row groups, so that nothing is read twice."""
    shard: list[Picture] = []
    for picture in pictures:
        if shard and _ends(shard, picture, size):
            yield shard
            shard = []
        shard.append(picture)
    if shard:
        yield shard


def _ends(shard: Sequence[Picture], following: Picture, size: int) -> bool:
    """Whether the shard is complete without the picture that follows."""
    last = shard[-1]
    if last.table != following.table:
        return True
    return len(shard) >= size and (following.table is None or last.group != following.group)
