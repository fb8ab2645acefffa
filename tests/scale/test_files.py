"""Files on disk and in stores: found, read, and never half written."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibox.errors import DataError, MultiboxError, UsageError
from multibox.scale.files import is_folder, locate, names_in, read, remove, walk, write


@pytest.fixture(params=["{}", "file://{}", "memory:/{}"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder by its path, by an address that pyarrow knows, and by one that only fsspec knows."""
    if request.param.startswith("memory"):
        pytest.importorskip("fsspec")
    return request.param.format(tmp_path)


def test_what_is_written_is_read_found_and_listed(root: str) -> None:
    for name in ("b.jpg", "deep/er/a.jpg", ".hidden.jpg"):
        write(locate(f"{root}/{name}"), name.encode())
    assert read(f"{root}/deep/er/a.jpg") == b"deep/er/a.jpg"
    assert sorted(walk(root)) == [f"{root}/b.jpg", f"{root}/deep/er/a.jpg"]
    assert all(read(path) == path.removeprefix(f"{root}/").encode() for path in walk(root))
    assert sorted(names_in(locate(root))) == [".hidden.jpg", "b.jpg"]
    assert (is_folder(root), is_folder(f"{root}/b.jpg"), is_folder(f"{root}/none")) == (True, False, None)


def test_a_file_is_replaced_and_removed_as_a_whole(root: str, tmp_path: Path) -> None:
    place = locate(f"{root}/x.bin")
    write(place, b"old")
    (tmp_path / "new").write_bytes(b"new" * 100)
    write(place, tmp_path / "new")
    assert read(f"{root}/x.bin") == b"new" * 100
    remove(place)
    remove(place)
    assert [name for name in names_in(locate(root)) if name != "new"] == []


def test_a_place_that_cannot_be_written_is_one_sentence_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MultiboxError, match=r"file/x\.parquet: cannot be written .*; choose another --output"):
        write(locate(f"{tmp_path}/file/x.parquet"), b"data")
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(MultiboxError, match="taken: cannot be written"):
        write(locate(f"{tmp_path}/taken"), b"data")  # a folder of that name is in the way
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]


def test_what_is_not_there_is_named(root: str) -> None:
    with pytest.raises(DataError, match=r"no such image file: .*none\.jpg"):
        read(f"{root}/none.jpg")
    assert names_in(locate(f"{root}/none")) == []
    with pytest.raises(DataError, match="none: this folder cannot be listed"):
        list(walk(f"{root}/none"))


def test_an_unknown_scheme_is_a_sentence() -> None:
    with pytest.raises(UsageError, match="nowhere://: no file system of that name"):
        locate("nowhere://bucket/x")


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").write_bytes(b"")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "y.jpg").symlink_to(tmp_path / "a" / "x.jpg")
    assert sorted(walk(str(tmp_path))) == [f"{tmp_path}/a/x.jpg", f"{tmp_path}/a/y.jpg"]
