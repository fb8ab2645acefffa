"""The manifest: which picture belongs to which shard, kept with the results."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibox.errors import MultiboxError
from multibox.scale.files import locate
from multibox.scale.listing import Picture, cut
from multibox.scale.manifest import Manifest, write_manifest

PICTURES = [Picture(f"{n}", f"/x/{n}.jpg") for n in range(5)] + [Picture("ü", None, "/t.parquet", 3)]


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    output = locate(str(tmp_path / "out"))
    assert write_manifest(output, cut(PICTURES, 2), tmp_path, lambda _: None) == (6, 4)
    manifest = Manifest(output)
    assert (manifest.shards, manifest.pictures) == (4, 6)
    assert [manifest.size(shard) for shard in range(4)] == [2, 2, 1, 1]
    assert [picture for shard in range(4) for picture in manifest.read(shard)] == PICTURES
    assert manifest.ids(3).to_pylist() == ["ü"]


def test_without_pictures_nothing_is_written(tmp_path: Path) -> None:
    assert write_manifest(locate(str(tmp_path / "out")), [], tmp_path, lambda _: None) == (0, 0)
    assert not (tmp_path / "out").exists()


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "_manifest.parquet").write_bytes(b"broken")
    with pytest.raises(MultiboxError, match=r"_manifest\.parquet: the manifest cannot be read"):
        Manifest(locate(str(tmp_path)))
