"""What may be named as a source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bright import picture, save
from multibox.errors import DataError
from multibox.prediction.sources import count, expand
from multibox.prediction.video import read_frames, read_info
from multibox.results.video import VideoFile


def names(source) -> list[str]:
    return [entry.name for entry in expand(source)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place in ("b.jpg", "a.png", "sub/c.JPG", ".hidden/d.jpg"):
        save(tmp_path / place)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_a_folder_gives_its_pictures_sorted_with_those_of_subfolders(folder: Path) -> None:
    assert names(folder) == ["a", "b", "sub/c"]
    assert names(str(folder)) == ["a", "b", "sub/c"]


def test_a_glob_gives_the_files_it_matches(folder: Path) -> None:
    assert names(str(folder / "*.*g")) == ["a", "b"]
    assert names(str(folder / "**" / "*.JPG")) == ["c"]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    assert names(str(save(tmp_path / "a[1].png"))) == ["a[1]"]


def test_a_file_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png").rename(tmp_path / "a.dat")
    assert [entry.error for entry in expand(path)] == [None]


def test_lists_are_flattened_and_an_array_of_images_is_a_list(folder: Path) -> None:
    stack = np.zeros((2, 8, 8, 3), np.uint8)
    mixed = [folder / "a.png", [b"bytes", Image.new("L", (4, 4))], stack, picture()]
    assert names(mixed) == ["a", "image_000002", "image_000003", "image_000004", "image_000005", "image_000006"]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("none.jpg", "no such file"),
        ("none*.jpg", "no file matches"),
        ("https://example.org/a.jpg", "addresses of files are not fetched"),
        ("a\0b.jpg", "a\0b.jpg: "),
        ("x" * 5000, "xxx: "),
        (3.5, "float is not an image"),
        (None, "NoneType is not an image"),
    ],
)
def test_a_source_that_is_not_there_becomes_a_sentence(source: object, sentence: str) -> None:
    (entry,) = expand(source)
    assert entry.error is not None and sentence in entry.error


def test_an_empty_folder_becomes_a_sentence(tmp_path: Path) -> None:
    (entry,) = expand(tmp_path)
    assert entry.error is not None and "no images or videos" in entry.error


@pytest.fixture
def video(tmp_path: Path) -> Path:
    file = VideoFile(tmp_path / "v.mp4", 12.5)
    for at in range(10):
        file.add(picture(161, 121, red=(0, 0, 16 * at + 1, 121, 255)))
    file.close()
    return tmp_path / "v.mp4"


def test_a_video_that_was_written_is_read_back(video: Path) -> None:
    assert read_info(video).fps == pytest.approx(12.5)
    assert read_info(video).frames == 10
    frames = list(read_frames(video))
    assert [number for number, _ in frames] == list(range(10))
    for number, frame in frames:
        assert frame.shape == (122, 162, 3)
        assert abs((frame[60, :, 0] > 128).sum() - 16 * number - 1) <= 3


def test_a_stride_takes_every_nth_frame_and_is_counted(video: Path) -> None:
    assert [number for number, _ in read_frames(video, 4)] == [0, 4, 8]
    entries = list(expand([video, picture()]))
    assert count(entries, 4) == 4 and count(entries) == 11


def test_a_video_that_is_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    file = VideoFile(tmp_path / "v.mp4", 25)
    file.add(picture())
    file.close(keep=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"no video at all")
    with pytest.raises(DataError, match=r"v\.mp4: not a readable video"):
        list(read_frames(tmp_path / "v.mp4"))
