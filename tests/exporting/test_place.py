"""Files come into being whole, or not at all, and what was there before stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from multibox.errors import ExportError
from multibox.exporting.place import beside


def test_all_files_of_the_folder_go_to_their_place_and_the_folder_goes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.xml"
    with beside(path) as place:
        place.write_text("graph")
        place.with_suffix(".bin").write_text("weights")
        assert not path.exists()
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.bin", "model.xml"]
    assert path.read_text() == "graph"


def test_a_failure_leaves_what_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_text("before")
    with pytest.raises(ExportError, match="no agreement"), beside(path) as place:
        place.write_text("half")
        raise ExportError("no agreement")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for path in (tmp_path / "file" / "model.onnx", tmp_path):
        with pytest.raises(ExportError, match="cannot be written"), beside(path):
            raise AssertionError("never reached")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    path = tmp_path / "model.onnx"
    script = f"""
import resource
from pathlib import Path
from multibox.errors import ExportError
from multibox.exporting.place import beside
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as a disk with room for 1000 bytes
try:
    with beside(Path({str(path)!r})) as place:
        place.write_bytes(b"x" * 100_000)
except ExportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert f"{path}: cannot be written" in done.stdout
    assert list(tmp_path.iterdir()) == []
