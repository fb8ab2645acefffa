"""Live sources, read from real servers on this machine: the newest frame wins, lost connections are made again."""

from __future__ import annotations

import functools
import http.server
import itertools
import logging
import threading
import time
from pathlib import Path

import pytest

from bright import BrightEngine, picture
from multibox import Detector
from multibox.prediction import live as live_module
from multibox.prediction.live import Live
from web_camera import Visit, WebCamera


class SlowEngine(BrightEngine):
    def run(self, batch):
        time.sleep(0.05)
        return super().run(batch)


@pytest.fixture
def detector() -> Detector:
    return Detector(BrightEngine())


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "_FIRST_PAUSE", 0.05)


def live_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("multibox-live")]


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    with WebCamera(Visit(25)) as camera:
        found = list(Detector(SlowEngine()).stream(camera.address, live=Live(reconnect=0)))
    *frames, lost = found
    numbers = [prediction.frame.number for prediction in frames]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 24
    assert 0 < frames[-1].dropped == 25 - len(frames)
    for prediction in frames:
        left = prediction.detections.xyxy[0, 0]
        assert abs(left - 2 * prediction.frame.number) < 3  # the box belongs to this very frame
        assert prediction.latency > 0.05
    assert lost.error == f"{camera.address}: the stream broke (Input/output error)"
    assert lost.latency is None and len(lost.detections) == 0


def test_a_lost_stream_is_connected_again_and_its_frames_are_counted_on(detector, caplog) -> None:
    with (
        WebCamera(Visit(3), Visit(2, then=2), Visit(0, status=403), Visit(2), Visit(0, status=404)) as camera,
        caplog.at_level(logging.WARNING, "multibox"),
    ):
        *frames, lost = detector.stream(camera.address, live=Live(reconnect=2, timeout=0.3))
    assert frames[-1].frame.number == 6
    assert all(earlier.frame.at < later.frame.at for earlier, later in itertools.pairwise(frames))
    assert lost.error == (
        f"{camera.address}: cannot be opened (Server returned 404 Not Found); given up after 2 new tries"
    )
    assert len(camera.connections) == 6
    refused = "cannot be opened (Server returned 403 Forbidden (access denied))"
    said = [record.getMessage().removeprefix(f"{camera.address}: ") for record in caplog.records]
    assert said[0] == "the stream broke (Input/output error); connecting again in 0.05 s (try 1 of 2)"
    assert said[1] == "the stream broke (no frame within 0.3 s); connecting again in 0.05 s (try 1 of 2)"
    assert said[2] == refused + "; connecting again in 0.1 s (try 2 of 2)"


def test_an_address_where_nothing_ever_was_is_said_at_once(detector) -> None:
    with WebCamera(Visit(0, status=404)) as camera:
        found = list(detector.stream([camera.address, picture(), camera.address.replace("live.mjpg", "still")]))
        assert len(camera.connections) == 1
    assert [prediction.error is None for prediction in found] == [True, False, False]
    errors = {prediction.error.split(": ", 1)[1] for prediction in found[1:]}
    assert errors == {
        "cannot be opened (Server returned 404 Not Found)",
        "is a single picture, and files are not fetched; download it and name the file",
    }


def test_a_camera_that_is_not_there_is_one_sentence(detector, capfd) -> None:
    (lost,) = detector.stream("camera:99")
    assert lost.error == "camera:99: no such camera, or another program holds it"
    assert capfd.readouterr() == ("", "")


def test_several_live_sources_take_turns_and_one_that_is_lost_stops_none(detector) -> None:
    with WebCamera(Visit(4)) as short, WebCamera(Visit(20)) as long:
        found = list(detector.stream([short.address, long.address], batch=2, live=Live(reconnect=0)))
    by_address = {address: [p for p in found if p.address == address] for address in (short.address, long.address)}
    assert by_address[short.address][-2].frame.number == 3 and by_address[long.address][-2].frame.number == 19
    assert found.index(by_address[long.address][0]) < found.index(by_address[short.address][-1])
    assert [predictions[-1].error is not None for predictions in by_address.values()] == [True, True]


def test_a_stride_takes_every_nth_frame(detector) -> None:
    with WebCamera(Visit(10, every=0.05)) as camera:
        frames = [p.frame for p in detector.stream(camera.address, vid_stride=3, live=Live(reconnect=0)) if p.frame]
    assert [frame.number for frame in frames] == [0, 3, 6, 9]


@pytest.mark.slow
def test_a_silent_stream_ends_when_it_is_told_and_leaves_no_thread(detector) -> None:
    with WebCamera(Visit(1, then=3)) as camera:
        start = time.monotonic()
        stop = Live(stop=lambda: time.monotonic() - start > 0.4, timeout=1)
        found = list(detector.stream(camera.address, live=stop))
        assert len(found) == 1 and time.monotonic() - start < 2.5
        stream = detector.stream(camera.address)
        next(stream)
        stream.close()
    deadline = time.monotonic() + 5
    while live_threads() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert live_threads() == []


@pytest.mark.slow
def test_the_age_of_a_frame_stays_below_two_runs_of_the_network() -> None:
    detector = Detector(SlowEngine())
    detector.predict(picture())
    with WebCamera(Visit(200, every=0.01)) as camera:
        *frames, _ = detector.stream(camera.address, live=Live(reconnect=0))
    ages, runs = (sorted(values) for values in zip(*((p.latency, p.seconds) for p in frames), strict=True))
    assert frames[-1].dropped > 100 and ages[len(ages) // 2] < 2.5 * runs[len(runs) // 2]


@pytest.mark.slow
def test_an_rtsp_stream_is_watched_without_its_password() -> None:
    pytest.importorskip("av")
    from rtsp_camera import RtspCamera

    with RtspCamera(30) as camera:
        *frames, lost = Detector(BrightEngine()).stream(camera.address, live=Live(reconnect=0, timeout=5))
        asked = camera.asked
    assert asked == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
    assert frames[-1].frame.number == 29 and len(frames) + frames[-1].dropped == 30
    for prediction in frames:
        assert abs(prediction.detections.xyxy[0, 0] - 2 * prediction.frame.number) < 5
    assert "secret" not in f"{lost.error} {frames[0].source} {frames[0].name}"
    assert lost.error.endswith("/live: the stream ended")


@pytest.mark.slow
def test_every_frame_of_a_recording_on_the_web_is_taken_and_its_end_is_no_failure(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "all.m3u8"), "w", format="hls", options={"hls_list_size": "0"}) as out:
        stream = out.add_stream("libx264", rate=25, options={"g": "25"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(50):
            image = av.VideoFrame.from_ndarray(picture(320, 240, red=(2 * number, 40, 2 * number + 80, 140, 255)))
            for packet in stream.encode(image):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = list(Detector(SlowEngine()).stream(f"http://127.0.0.1:{server.server_port}/all.m3u8"))
    server.shutdown()
    assert [prediction.frame.number for prediction in found] == list(range(50))
    assert found[-1].dropped == 0 and found[-1].frame.at == pytest.approx(49 / 25)
