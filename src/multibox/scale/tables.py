"""Parquet tables of pictures: a column `path`, or a column `bytes` (or `image`), and an `id` where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from multibox.errors import DataError
from multibox.scale.files import locate, short

RESULT_KEY = b"multibox"
"""Key of the metadata by which tables of results are known."""
_ROWS = 10_000
_IMAGES = 32
"""Pictures whose bytes are held at a time."""


class Row(NamedTuple):
    """One row: its name, the picture's path (None: the row holds the bytes), and the row group it stands in."""

    id: str
    path: str | None
    group: int


def read_rows(table: str) -> Iterator[Row]:
    """The rows of a table in their order, without the bytes of pictures.

    Rows without `id` are named by their path, or FILE#NUMBER. Relative paths start at the table's folder. Raises
    `DataError` for a file that is no Parquet, holds no such columns, or is a result of ours.
    """
    with open_table(table) as file:
        columns = [name for name in ("id", "path") if name in file.schema_arrow.names]
        if file.metadata.metadata and RESULT_KEY in file.metadata.metadata:
            raise DataError(f"{table}: this is a result of 'multibox predict-many', not a table of pictures")
        bytes_column = image_column(file.schema_arrow)
        if bytes_column is None and "path" not in columns:
            raise DataError(f"{table}: has neither a column 'path' nor one 'bytes' (its columns: {_known(file)})")
        number = 0
        for group in range(file.num_row_groups):
            for ids, paths in _values(file, group, columns):
                yield from _rows(table, number, ids, paths, group, inside=bytes_column is not None)
                number += len(ids)


def _values(file: Any, group: int, columns: Sequence[str]) -> Iterator[tuple[list[Any], list[Any]]]:
    """Ids and paths of a row group, some thousands at a time; None where the table has no such column."""
    if not columns:
        count = file.metadata.row_group(group).num_rows
        yield [None] * count, [None] * count
        return
    for batch in file.iter_batches(_ROWS, row_groups=[group], columns=list(columns)):
        found = {name: batch.column(name).to_pylist() for name in columns}
        empty = [None] * batch.num_rows
        yield found.get("id", empty), found.get("path", empty)


def _rows(
    table: str, first: int, ids: Sequence[Any], paths: Sequence[Any], group: int, *, inside: bool
) -> Iterator[Row]:
    folder = table.rpartition("/")[0]
    for number, (name, path) in enumerate(zip(ids, paths, strict=True), first):
        where = None if path is None else str(path)
        if where and not inside and "://" not in where and not where.startswith("/"):
            where = f"{folder}/{where}"
        called = name if name is not None else where if where is not None else f"{table}#{number}"
        yield Row(str(called), None if inside else where or "", group)


def image_column(schema: Any) -> str | None:
    """The column with encoded pictures: `bytes`, or `image`, also as Hugging Face's `image.bytes`; None without."""
    for name in ("bytes", "image"):
        if name in schema.names:
            kind = schema.field(name).type
            if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                return f"{name}.bytes"
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
                return name
    return None


def read_images(table: str, groups: Sequence[int]) -> Iterator[bytes | None]:
    """The encoded pictures of some row groups, in order; None where a row holds none."""
    with open_table(table) as file:
        column = image_column(file.schema_arrow)
        if column is None:
            raise DataError(f"{table}: holds no column of pictures any more")
        for batch in file.iter_batches(_IMAGES, row_groups=list(groups), columns=[column], use_threads=False):
            values = batch.column(0)
            for value in values.field("bytes") if pa.types.is_struct(values.type) else values:
                yield value.as_py()


def open_table(table: str) -> Any:
    """A Parquet file, its footer read. Raises `DataError` naming it."""
    place = locate(table)
    try:
        return pq.ParquetFile(place.path, filesystem=place.fs, pre_buffer=False)
    except FileNotFoundError:
        raise DataError(f"{table}: no such file") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{table}: cannot be read as Parquet ({short(error)})") from None


def _known(file: Any) -> str:
    return ", ".join(file.schema_arrow.names[:20])
