"""What is to be predicted: every picture once, in an order that stays."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multibox.errors import DataError
from multibox.scale import listing
from multibox.scale.listing import Picture, cut, list_pictures


def touch(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return sorted(f"{folder}/{name}" for name in names)


def paths(sources: list[str], scratch: Path) -> list[str]:
    return [picture.id for picture in list_pictures(sources, scratch / "scratch")]


def test_folders_give_sorted_pictures_hidden_and_other_files_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    names = touch(folder, "b.jpg", "a/z.PNG", "a/b.webp", "_DSC0001.jpg", "ü/ö \n.jpg")
    touch(folder, ".c.jpg", ".git/d.jpg", "notes.txt", "film.mp4")
    assert paths([str(folder)], tmp_path) == names


def test_sorting_on_disk_is_sorting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number:03d}.jpg" for number in range(100)]
    random.Random(0).shuffle(names)
    wanted = touch(tmp_path / "in", *names)
    monkeypatch.setattr(listing, "_RUN", 7)
    assert paths([str(tmp_path / "in")] * 2, tmp_path) == wanted
    assert len(list((tmp_path / "scratch" / "paths").iterdir())) == 28  # it did use the disk


def test_a_picture_that_is_named_twice_is_taken_once(tmp_path: Path) -> None:
    names = touch(tmp_path / "in", "a.jpg", "deep/b.jpg")
    assert paths([str(tmp_path / "in"), str(tmp_path / "in/deep"), names[0]], tmp_path) == names


def test_a_file_that_is_named_may_have_any_name(tmp_path: Path) -> None:
    (name,) = touch(tmp_path, "photo")
    assert paths([name], tmp_path) == [name]


def test_an_address_gives_addresses(tmp_path: Path) -> None:
    names = touch(tmp_path / "in", "a.jpg", "deep/b.jpg")
    found = list(list_pictures([f"file://{tmp_path}/in"], tmp_path / "scratch"))
    assert found == [Picture(f"file://{name}", f"file://{name}") for name in names]


def test_sources_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: no such file or folder"):
        paths([str(tmp_path / "none")], tmp_path)
    with open(os.fsencode(tmp_path) + b"/bad\xff.jpg", "wb"):  # noqa: PTH123
        pass
    with pytest.raises(DataError, match=r"bad\\udcff\.jpg: its name is not UTF-8"):
        paths([str(tmp_path)], tmp_path)


def test_an_empty_folder_has_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert paths([str(tmp_path / "in")], tmp_path) == []
    assert list(cut([], 10)) == []


def test_rows_of_tables_follow_the_files(tmp_path: Path) -> None:
    (name,) = touch(tmp_path / "in", "z.jpg")
    touch(tmp_path / "in", "_unfinished.parquet")
    pq.write_table(pa.table({"path": ["b.jpg", "/x/a.jpg"]}), tmp_path / "in" / "list.parquet")
    assert paths([str(tmp_path / "in")], tmp_path) == [name, f"{tmp_path}/in/b.jpg", "/x/a.jpg"]


def test_shards_together_are_the_list_and_none_is_larger_than_asked() -> None:
    for count in (1, 9, 10, 11, 35):
        pictures = [Picture(str(number), str(number)) for number in range(count)]
        shards = list(cut(pictures, 10))
        assert [picture for shard in shards for picture in shard] == pictures
        assert [len(shard) for shard in shards[:-1]] == [10] * (len(shards) - 1) and len(shards[-1]) <= 10


def test_row_groups_with_bytes_are_never_divided() -> None:
    groups = [("a", 0, 3), ("a", 1, 3), ("a", 2, 12), ("a", 3, 3), ("b", 0, 2), ("b", 1, 2)]
    pictures = [Picture("x", "x")] * 7
    pictures += [Picture(f"{table}{number}", None, table, group) for table, group, n in groups for number in range(n)]
    shards = list(cut(pictures, 5))
    assert [picture for shard in shards for picture in shard] == pictures
    assert [len(shard) for shard in shards] == [5, 2, 6, 12, 3, 4]
    assert all(len({picture.table for picture in shard}) == 1 for shard in shards)
