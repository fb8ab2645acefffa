"""The detector's laws, held with a small detector that really looks at the pixels."""

from __future__ import annotations

import io
import threading
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from bright import BrightEngine, picture, save
from multibox import Detector
from multibox.errors import DataError, UsageError

RED, GREEN = (64, 48, 320, 240, 255), (400, 100, 600, 400, 200)


@pytest.fixture
def detector() -> Detector:
    return Detector(BrightEngine())


def test_boxes_are_pixels_of_the_photo_with_names_and_scores_highest_first(detector: Detector) -> None:
    found = detector.predict(picture(red=(64, 48, 320, 240, 128), green=GREEN))
    assert found.data["class_name"].tolist() == ["green", "red"]
    assert found.class_id.tolist() == [1, 0]
    np.testing.assert_allclose(found.confidence, [200 / 255, 128 / 255], atol=0.02)
    np.testing.assert_allclose(found.xyxy, [GREEN[:4], RED[:4]], atol=2)


def test_a_letterboxed_model_finds_the_same_boxes() -> None:
    found = Detector(BrightEngine("letterbox")).predict(picture(red=RED))
    np.testing.assert_allclose(found.xyxy, [RED[:4]], atol=3)


def test_every_kind_of_source_gives_the_same_detections(detector: Detector, tmp_path) -> None:
    path = save(tmp_path / "a.png", red=RED, green=GREEN)
    expected = detector.predict(path)
    buffer = io.BytesIO()
    Image.open(path).save(buffer, "PNG")
    for source in (str(path), path.read_bytes(), buffer.getvalue(), picture(red=RED, green=GREEN), Image.open(path)):
        assert detector.predict(source) == expected


def test_a_picture_without_objects_gives_empty_detections_in_the_same_form(detector: Detector) -> None:
    found = detector.predict(picture())
    assert len(found) == 0
    assert found.xyxy.shape == (0, 4)
    assert found.class_id.dtype == np.int64 and len(found.data["class_name"]) == 0


def test_conf_max_det_and_classes_choose(detector: Detector) -> None:
    image = picture(red=RED, green=GREEN)
    assert detector.predict(image, 0.9).data["class_name"].tolist() == ["red"]
    assert detector.predict(image, max_det=1).data["class_name"].tolist() == ["red"]
    assert detector.predict(image, classes=["green"]).data["class_name"].tolist() == ["green"]
    assert detector.predict(image, classes=[1]).data["class_name"].tolist() == ["green"]
    assert len(detector.predict(image, classes=["blue"])) == 0
    assert len(detector.predict(image, None)) == len(detector.predict(image, 0.0)) == 2


def test_wrong_options_are_named(detector: Detector) -> None:
    with pytest.raises(UsageError, match="'gren'; did you mean 'green'"):
        detector.predict(picture(), classes=["gren"])
    with pytest.raises(UsageError, match=r"conf is between 0 and 1, not 1\.5"):
        detector.predict(picture(), 1.5)
    with pytest.raises(UsageError, match="max_det"):
        detector.predict(picture(), max_det=0)
    with pytest.raises(UsageError, match="batch"):
        detector.stream([], batch=0)


def test_a_picture_that_cannot_be_read_raises(detector: Detector, tmp_path) -> None:
    with pytest.raises(DataError, match=r"none\.jpg"):
        detector.predict(tmp_path / "none.jpg")


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_a_stream_keeps_the_order_and_goes_on_after_broken_pictures(tmp_path, batch: int) -> None:
    for at in range(7):
        save(tmp_path / f"{at}.png", red=(10, 10, 100 + 40 * at, 100, 255))
    (tmp_path / "3.png").write_bytes(b"no picture at all")
    engine = BrightEngine()
    found = list(Detector(engine).stream([tmp_path, tmp_path / "none.png"], batch=batch))
    assert [prediction.name for prediction in found] == ["0", "1", "2", "3", "4", "5", "6", "none"]
    assert [prediction.error is None for prediction in found] == [True, True, True, False, True, True, True, False]
    assert "3.png" in found[3].error and "none.png" in found[7].error
    assert len(found[3].detections) == 0
    widths = [p.detections.xyxy[0, 2] for p in found if p.error is None]
    np.testing.assert_allclose(widths, [100 + 40 * at for at in (0, 1, 2, 4, 5, 6)], atol=3)
    assert sum(engine.batches) == 6 and max(engine.batches) <= batch


def test_a_stream_equals_single_predictions(detector: Detector, tmp_path) -> None:
    paths = [save(tmp_path / f"{at}.png", red=(10, 10 + at, 300, 200, 255)) for at in range(5)]
    for prediction, path in zip(detector.stream(paths, batch=2), paths, strict=True):
        assert prediction.detections == detector.predict(path)
        assert prediction.path == path and (prediction.width, prediction.height) == (640, 480)
        assert prediction.image.shape == (480, 640, 3) and prediction.seconds > 0


def test_pixels_are_dropped_where_they_are_not_wanted(detector: Detector) -> None:
    assert [p.image for p in detector.stream([picture()], keep_image=False)] == [None]


@pytest.mark.slow
def test_a_stream_reads_only_a_little_ahead_and_its_memory_does_not_grow(detector: Detector) -> None:
    given = 0

    def camera():
        nonlocal given
        for _ in range(400):
            given += 1
            yield picture(red=RED)

    stream = detector.stream(camera(), batch=2, workers=2)
    next(stream)
    tracemalloc.start()
    for taken, _ in enumerate(stream, 2):
        assert given - taken <= 12
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert given == 400
    assert peak < 40 * 640 * 480 * 3  # 400 pictures came by


def test_a_stream_that_is_given_up_ends_its_threads(detector: Detector) -> None:
    def forever():
        while True:
            yield picture(red=RED)

    before = threading.active_count()
    stream = detector.stream(forever())
    next(stream)
    stream.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_reading_overlaps_with_the_network() -> None:
    class SlowEngine(BrightEngine):
        def run(self, batch):
            time.sleep(0.03)
            return super().run(batch)

    def slow_camera():
        for _ in range(10):
            time.sleep(0.03)
            yield picture(red=RED)

    start = time.perf_counter()
    assert len(list(Detector(SlowEngine()).stream(slow_camera()))) == 10
    single = time.perf_counter()
    engine = SlowEngine()
    for image in slow_camera():
        Detector(engine).predict(image)
    assert single - start < 0.85 * (time.perf_counter() - single)


def test_an_exception_of_a_users_generator_is_raised_where_it_came(detector: Detector) -> None:
    def camera():
        yield picture(red=RED)
        raise RuntimeError("unplugged")

    stream = detector.stream(camera())
    assert len(next(stream).detections) == 1
    with pytest.raises(RuntimeError, match="unplugged"):
        next(stream)


class Crowd(BrightEngine):
    """Serves three calls at a time, the later ones sooner; knows how many it served at once."""

    calls = 3

    def __init__(self) -> None:
        super().__init__()
        self._now, self.most, self._lock = 0, 0, threading.Lock()

    def run(self, batch):
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.02 if len(self.batches) % 3 == 0 else 0.002)
        found = super().run(batch)
        with self._lock:
            self._now -= 1
        return found


def test_several_calls_at_a_time_keep_the_order_and_the_places_of_broken_pictures() -> None:
    sources = [picture(red=(10 * i, 10, 10 * i + 100, 200, 255)) for i in range(20)]
    sources[7] = b"no picture"
    engine = Crowd()
    one, many = (list(Detector(each).stream(sources, batch=2)) for each in (BrightEngine(), engine))
    assert engine.most > 1
    assert [each.error for each in many] == [each.error for each in one] and many[7].error
    assert [each.objects.boxes.tolist() for each in many] == [each.objects.boxes.tolist() for each in one]


def test_several_calls_at_a_time_end_with_the_stream_that_is_given_up() -> None:
    def forever():
        while True:
            yield picture(red=RED)

    before = threading.active_count()
    stream = Detector(Crowd()).stream(forever())
    next(stream)
    stream.close()
    assert threading.active_count() == before
