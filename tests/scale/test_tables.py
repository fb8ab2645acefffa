"""Parquet tables of pictures: by path, by bytes, with names and without."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multibox.errors import DataError
from multibox.scale.tables import read_images, read_rows


def table(folder: Path, columns: dict[str, list[object]], group: int = 100) -> str:
    pq.write_table(pa.table(columns), folder / "t.parquet", row_group_size=group)
    return str(folder / "t.parquet")


def test_paths_are_names_too_and_relative_ones_start_at_the_table(tmp_path: Path) -> None:
    file = table(tmp_path, {"path": ["a.jpg", "/b.jpg", "s3://c/d.jpg"], "other": [1, 2, 3]})
    wanted = [f"{tmp_path}/a.jpg", "/b.jpg", "s3://c/d.jpg"]
    assert [row.path for row in read_rows(file)] == wanted
    assert [row.id for row in read_rows(file)] == wanted


def test_an_id_of_any_type_is_the_name(tmp_path: Path) -> None:
    file = table(tmp_path, {"path": ["/a.jpg", "/b.jpg"], "id": [7, None]})
    assert [(row.id, row.path) for row in read_rows(file)] == [("7", "/a.jpg"), ("/b.jpg", "/b.jpg")]


@pytest.mark.parametrize("column", ["bytes", "image"])
@pytest.mark.parametrize("nested", [False, True])
def test_bytes_are_read_back_row_by_row(tmp_path: Path, column: str, nested: bool) -> None:
    data: list[bytes | None] = [b"one", None, b"three", b"", b"five"]
    values = [{"bytes": value, "path": None} for value in data] if nested else data
    file = table(tmp_path, {"id": list("abcde"), column: values}, group=2)
    rows = list(read_rows(file))
    assert [(row.id, row.path, row.group) for row in rows] == list(
        zip("abcde", [None] * 5, (0, 0, 1, 1, 2), strict=True)
    )
    assert list(read_images(file, [0, 1, 2])) == data
    assert list(read_images(file, [1])) == data[2:4]


def test_rows_without_name_have_the_tables_and_their_number(tmp_path: Path) -> None:
    file = table(tmp_path, {"bytes": [b"x"] * 3}, group=2)
    assert [row.id for row in read_rows(file)] == [f"{file}#0", f"{file}#1", f"{file}#2"]
    file = table(tmp_path, {"path": [None, "/a.jpg"]})
    assert [(row.id, row.path) for row in read_rows(file)] == [(f"{file}#0", ""), ("/a.jpg", "/a.jpg")]


def test_an_empty_table_has_no_rows(tmp_path: Path) -> None:
    assert list(read_rows(table(tmp_path, {"path": []}))) == []


def test_tables_that_cannot_be_used_are_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.parquet: has neither a column 'path' nor one 'bytes' .*file, id"):
        list(read_rows(table(tmp_path, {"file": ["a"], "id": ["a"]})))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"bad\.parquet: cannot be read as Parquet"):
        list(read_rows(f"{tmp_path}/bad.parquet"))
    with pytest.raises(DataError, match="no such file"):
        list(read_rows(f"{tmp_path}/none.parquet"))
