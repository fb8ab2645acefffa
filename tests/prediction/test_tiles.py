"""Tiles: they cover the picture, change nothing where there is one, and give every object once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from bright import BrightEngine, SpotEngine, picture
from multibox import Detector
from multibox.errors import UsageError
from multibox.prediction.tiles import Tiles

RED = (64, 48, 320, 240, 255)


@pytest.fixture
def detector() -> Detector:
    return Detector(SpotEngine())


def found(detector: Detector, image: np.ndarray, tiles: Tiles | None) -> list[list[int]]:
    """The boxes from left to right and top to bottom."""
    return sorted(np.rint(detector.predict(image, tiles=tiles).xyxy).astype(int).tolist())


@pytest.mark.parametrize("size", [(1, 1), (640, 480), (641, 480), (1000, 3000), (4001, 333)])
@pytest.mark.parametrize("tiles", [Tiles(640, 480), Tiles(320, 320, 0.0), Tiles(101, 77, 0.5), Tiles(7, 5000, 0.9)])
def test_tiles_cover_the_picture_and_overlap_as_asked(size: tuple[int, int], tiles: Tiles) -> None:
    places = tiles.places(*size)
    for axis, (side, tile) in enumerate(zip(size, (tiles.width, tiles.height), strict=True)):
        spans = sorted({(place[axis], place[axis + 2]) for place in places})
        assert spans[0][0] == 0 and spans[-1][1] == side
        assert all(end - start == min(tile, side) for start, end in spans)
        overlaps = [end - start for (_, end), (start, _) in pairwise(spans)]
        assert all(overlap >= tile * tiles.overlap - 1 for overlap in overlaps)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("side", [640, 5000])
def test_a_tile_as_large_as_the_picture_changes_nothing(side: int, whole: bool) -> None:
    engine = BrightEngine()
    image = picture(red=RED, green=(400, 100, 600, 400, 200))
    plain = Detector(engine).predict(image)
    assert Detector(engine).predict(image, tiles=Tiles(side, side, whole=whole)) == plain
    assert engine.batches == [1, 1]


def test_a_small_object_that_the_whole_picture_hides_is_found_in_a_tile(detector: Detector) -> None:
    box = (1004, 1004, 1007, 1007)  # half a pixel of the network's input
    image = picture(2000, 2000, red=(*box, 255))
    assert found(detector, image, None) == []
    (only,) = found(detector, image, Tiles(500, 500))
    assert np.abs(np.subtract(only, box)).max() <= 2


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "box",
    [
        (280, 100, 320, 140),  # as wide as the overlap: whole in one tile, cut in the other
        (200, 100, 420, 180),  # wider than the overlap: cut in both
        (230, 230, 380, 380),  # over the corner of four tiles
        (20, 100, 880, 160),  # longer than two tiles
    ],
)
def test_an_object_across_a_seam_is_found_once(detector: Detector, box: tuple[int, ...], whole: bool) -> None:
    image = picture(960, 960, red=(*box, 255))
    (only,) = found(detector, image, Tiles(320, 320, 0.2, whole))
    assert np.abs(np.subtract(only, box)).max() <= 4


def test_neighbours_stay_two_at_a_seam_and_classes_stay_apart(detector: Detector) -> None:
    image = picture(960, 320, green=(256, 200, 330, 260, 255), blue=(250, 196, 336, 264, 255))
    image[40:100, 240:290, 0] = image[40:100, 300:350, 0] = 255
    image[200:260, 256:330, 2] = 0
    expected = [[240, 40, 290, 100], [300, 40, 350, 100]]
    boxes = detector.predict(image, None, tiles=Tiles(320, 320, 0.25, whole=False))
    red = np.rint(boxes.xyxy[boxes.class_id == 0]).astype(int)
    assert sorted(red.tolist()) == expected
    assert sorted(boxes.class_id.tolist()) == [0, 0, 1, 2]


def test_a_stream_in_tiles_equals_single_predictions_whatever_the_batch(detector: Detector) -> None:
    images = [picture(700, 500, red=(20 * at, 30, 20 * at + 90, 99, 255), blue=(9, 9, 60, 400, 200)) for at in range(3)]
    tiles = Tiles(256, 256)
    singly = [detector.predict(image, tiles=tiles) for image in images]
    for batch in (1, 5):
        engine = SpotEngine()
        stream = Detector(engine).stream([*images, b"broken"], batch=batch, tiles=tiles)
        assert [prediction.detections for prediction in stream if prediction.error is None] == singly
        assert sum(engine.batches) == 3 * (4 * 3 + 1) and max(engine.batches) <= batch


def test_the_best_are_chosen_after_the_tiles_are_joined(detector: Detector) -> None:
    image = picture(960, 320, red=(20, 20, 60, 60, 255), green=(700, 20, 760, 60, 200))
    tiles = Tiles(320, 320)
    assert detector.predict(image, max_det=1, tiles=tiles).data["class_name"].tolist() == ["red"]
    assert detector.predict(image, classes=["green"], tiles=tiles).data["class_name"].tolist() == ["green"]
    assert len(detector.predict(image, 0.99, tiles=tiles)) == 1
    assert len(detector.predict(picture(960, 320), tiles=tiles)) == 0


@pytest.mark.parametrize(("values", "sentence"), [((0, 9), "at least 1 x 1"), ((9, 9, 1.0), "between 0 and 0.9")])
def test_tiles_that_cannot_be_laid_are_named(values: tuple, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Tiles(*values)
