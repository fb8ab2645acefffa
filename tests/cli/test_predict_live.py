"""`multibox predict` on streams: how it ends, what it leaves, and what a full disk or a cut video leaves."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from bright import BrightEngine, picture
from multibox import Detector
from multibox.cli import main
from multibox.results.video import VideoFile
from web_camera import Visit, WebCamera

FOLDER = Path("runs/predict/predict")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command in an empty folder with the small detector of `bright`; gives exit code, stdout, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("multibox.prediction.detector.load", lambda *_, **__: Detector(BrightEngine()))

    def call(*words: object) -> tuple[int, list[dict], list[str]]:
        try:
            main(["predict", "--json", *map(str, words)])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in err
        return code, [json.loads(line) for line in out.splitlines()], errors

    return call


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: what a full disk does, without one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def times_of(video: Path) -> list[float]:
    """When each of its frames is shown, in seconds."""
    with av.open(str(video)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


def write_video(path: Path, frames: int, *, noise: int = 0) -> None:
    """A video of 10 frames per second, the moving area over `noise` that fills a disk."""
    random = np.random.default_rng(0)
    video = VideoFile(path, 10)
    for at in range(frames):
        image = picture(160, 120, red=(at % 90, 20, at % 90 + 60, 100, 255))
        video.add(np.maximum(image, random.integers(0, noise + 1, image.shape, dtype=np.uint8)))
    video.close()


def test_a_lost_camera_is_one_sentence_exit_code_3_and_complete_files(run) -> None:
    with WebCamera(Visit(12, every=0.05)) as camera:
        code, found, errors = run(camera.address, "--reconnect", 0)
    sentence = f"{camera.address}: the stream broke (Input/output error)"
    *frames, lost = found
    assert code == 3 and errors == [f"error: {sentence}"]
    assert lost == {"path": camera.address, "error": sentence}
    assert frames[-1]["frame"] == 11 and {"time", "width", "detections"} <= set(frames[-1])
    assert json.loads((FOLDER / "predictions.json").read_text()) == frames
    (video,) = FOLDER.glob("*.mp4")
    shown = times_of(video)
    assert len(shown) == len(frames)
    assert all(abs(at - frame["time"]) < 0.002 for at, frame in zip(shown, frames, strict=True))


def test_several_cameras_become_several_videos(run) -> None:
    with WebCamera(Visit(4, every=0.05)) as one, WebCamera(Visit(6, every=0.05), size=(160, 120)) as two:
        code, found, errors = run(one.address, two.address, "--reconnect", 0, "--format", "none")
    assert code == 3 and len(errors) == 2
    counts = sorted(sum(line["path"] == camera.address and "frame" in line for line in found) for camera in (one, two))
    assert sorted(len(times_of(video)) for video in FOLDER.glob("*.mp4")) == counts


@pytest.mark.parametrize("sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_ends_a_stream_with_its_files_complete(run, sent: signal.Signals) -> None:
    before = signal.getsignal(sent)
    with WebCamera(Visit(5, every=0.05), Visit(1, then=20)) as camera:  # comes back, and is silent then
        camera.on_frame[6] = lambda: os.kill(os.getpid(), sent)
        start = time.monotonic()
        code, frames, errors = run(camera.address, "--timeout", 15)
    assert (code, errors) == (130, []) and time.monotonic() - start < 10
    assert json.loads((FOLDER / "predictions.json").read_text()) == frames and len(frames) >= 2
    (video,) = FOLDER.glob("*.mp4")
    assert len(times_of(video)) == len(frames)
    assert not list(FOLDER.glob(".*"))
    assert signal.getsignal(sent) is before


def test_frames_and_seconds_end_a_stream_without_failure(run) -> None:
    with WebCamera(Visit(10_000)) as camera:
        quick = (camera.address, "--no-save", "--format", "none")
        code, frames, _ = run(*quick, "--max-frames", 3)
        assert (code, len(frames)) == (0, 3)
        code, frames, _ = run(*quick, "--seconds", 0.3)
        assert code == 0 and 0 < frames[-1]["time"] - frames[0]["time"] < 2
    assert run("a.png", "--max-frames", 0)[::2] == (2, ["error: max-frames and seconds are above 0, not 0"])


def test_a_video_that_is_cut_off_is_said_and_its_frames_are_kept(run) -> None:
    with av.open("whole.mp4", "w", options={"movflags": "faststart"}) as whole:
        stream = whole.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for at in range(40):
            frame = av.VideoFrame.from_ndarray(picture(160, 120, red=(2 * at, 20, 2 * at + 60, 100, 255)))
            whole.mux(stream.encode(frame))
        whole.mux(stream.encode())
    data = Path("whole.mp4").read_bytes()
    Path("v.mp4").write_bytes(data[: len(data) // 2])
    code, found, errors = run("v.mp4")
    last = found[-2]["frame"]
    assert code == 3 and 5 < last < 35
    assert errors == [f"error: v.mp4: cut off or damaged behind frame {last} of 40"]
    assert json.loads((FOLDER / "predictions.json").read_text()) == found[:-1]
    assert len(times_of(FOLDER / "v.mp4")) == last + 1


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "kept"), [(2_000, 0), (450_000, 20)])
def test_a_full_disk_is_one_sentence_and_keeps_what_was_written(run, limit: int, kept: int) -> None:
    write_video(Path("v.mp4"), 150, noise=60)
    with full_disk(limit):
        code, found, errors = run("v.mp4", "--format", "json,csv")
    assert code == 1 and len(errors) == 1 and "cannot be written (File too large)" in errors[0]
    written = json.loads((FOLDER / "predictions.json").read_text())
    assert 0 < len(written) <= len(found) + 1 and written[: len(found)] == found[: len(written)]
    rows = (FOLDER / "predictions.csv").read_text().splitlines()
    assert all(row.count(",") == rows[0].count(",") for row in rows)
    if kept:
        shown = times_of(FOLDER / "v.mp4")
        assert len(shown) >= kept
        assert shown == pytest.approx([at / 10 for at in range(len(shown))], abs=0.002)
    assert not list(FOLDER.glob(".*"))


@pytest.mark.slow
def test_the_command_itself_ends_with_a_signal_on_the_installed_detector(tmp_path: Path) -> None:
    with WebCamera(Visit(10_000)) as camera:
        words = [sys.executable, "-m", "multibox", "predict", camera.address, "--json"]
        process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in err, err
    frames = [json.loads(line) for line in (first + out).splitlines()]
    assert json.loads((tmp_path / FOLDER / "predictions.json").read_text()) == frames
