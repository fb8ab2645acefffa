"""Which words name a live source, and how it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibox.prediction.addresses import camera_number, output_name, shown
from multibox.prediction.sources import count, expand


@pytest.mark.parametrize(
    ("words", "address", "name"),
    [
        ("0", "camera:0", "camera_0"),
        (2, "camera:2", "camera_2"),
        ("camera:1", "camera:1", "camera_1"),
        ("rtsp://u:p@cam.local:554/live/1", None, "cam.local_554_live_1"),
        ("RTSP://cam", None, "cam"),
        ("http://cam/video", None, "cam_video"),
        ("http://cam:8080/?action=stream", None, "cam_8080"),
        ("https://a.b/live.m3u8?key=1", None, "a.b_live.m3u8"),
        ("http://cam/x.mjpeg", None, "cam_x.mjpeg"),
        ("udp://@239.0.0.1:1234", None, "239.0.0.1_1234"),
    ],
)
def test_cameras_and_streams_are_live(words: str | int, address: str | None, name: str) -> None:
    (entry,) = expand(words)
    assert (entry.address, entry.name, entry.error) == (address or words, name, None)
    assert count([entry]) is None


@pytest.mark.parametrize("words", ["https://a.b/c.jpg", "http://a.b/c.mp4?x=1", "ftp://a/b", "rtsp:/a", "-1", -1])
def test_files_on_the_web_and_other_words_are_not(words: str | int) -> None:
    assert [(entry.address, entry.error is None) for entry in expand(words)] == [(None, False)]


def test_a_file_whose_name_is_a_number_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("0").write_bytes(b"a picture without suffix")
    assert camera_number("0") is None and camera_number("camera:0") == 0
    assert [entry.path for entry in expand("0")] == [Path("0")]


def test_passwords_are_never_shown() -> None:
    assert shown("rtsp://admin:secret@cam:554/live?user=admin&pwd=secret") == "rtsp://cam:554/live"
    assert "secret" not in output_name("rtsp://admin:secret@cam/?pwd=secret")
