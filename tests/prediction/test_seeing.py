"""Photos much larger than the network are read at a part of their size, and nothing but time tells."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bright import BrightEngine, picture
from multibox import Detector, load_spec
from multibox.errors import DataError
from multibox.prediction.seeing import see
from multibox.prediction.tiles import Tiles

RED, GREEN = (256, 192, 1280, 960), (1600, 400, 2400, 1600)
INPUT = BrightEngine().spec.input  # 320 x 320


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A JPEG file of 2560 x 1920 pixels with a red and a green area."""
    pixels = picture(2560, 1920, red=(*RED, 220), green=(*GREEN, 220))
    path = tmp_path / "large.jpg"
    cv2.imwrite(str(path), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    return path


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_boxes_are_pixels_of_the_photo_as_it_is(large: Path, resize: str) -> None:
    detector = Detector(BrightEngine(resize))
    found = detector.predict(large)
    whole = detector.predict(cv2.imread(str(large))[..., ::-1])
    assert found.data["class_name"].tolist() == whole.data["class_name"].tolist()
    np.testing.assert_allclose(found.xyxy, whole.xyxy, atol=2560 / 320)
    by_name = dict(zip(found.data["class_name"].tolist(), found.xyxy, strict=True))
    np.testing.assert_allclose(by_name["red"], RED, atol=2560 / 320)


def test_a_stream_finds_the_same_with_and_without_the_photo_and_gives_it_whole(large: Path) -> None:
    detector = Detector(BrightEngine())
    bare, kept = (next(detector.stream(large, keep_image=keep)) for keep in (False, True))
    assert bare.detections == kept.detections == detector.predict(large)
    assert (bare.width, bare.height) == (kept.width, kept.height) == (2560, 1920)
    assert bare.image is None and kept.image.shape == (1920, 2560, 3)


def test_what_is_read_has_twice_the_sides_of_the_network_or_more(large: Path) -> None:
    assert see(large, INPUT, None).image.shape == (960, 1280, 3)
    assert see(large, load_spec("ssd512_vgg16").input, None).image.shape == (1920, 2560, 3)


def test_tiles_are_cut_out_of_the_whole_photo(large: Path) -> None:
    seen = see(large, INPUT, Tiles(960, 960, whole=False))
    assert seen.image.shape == (1920, 2560, 3)
    assert len(seen.views) == 12


def test_a_large_file_that_is_damaged_is_refused_by_name(large: Path) -> None:
    large.write_bytes(large.read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"large\.jpg is damaged or truncated"):
        see(large, INPUT, None)
