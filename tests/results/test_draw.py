"""Drawing: boxes where they belong, labels inside the picture, the caller's pixels untouched."""

from __future__ import annotations

import numpy as np
import pytest
import supervision as sv

from multibox import draw


def found(boxes: list[list[float]], name: str = "person") -> sv.Detections:
    count = len(boxes)
    return sv.Detections(
        xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        confidence=np.full(count, 0.87, np.float32),
        class_id=np.zeros(count, np.int64),
        data={"class_name": np.array([name] * count)},
    )


def test_nothing_found_leaves_the_picture_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    drawn = draw(image, found([]))
    assert np.array_equal(drawn, image) and drawn is not image


def test_the_line_lies_on_the_boxs_edges_in_the_classs_colour_and_nothing_is_drawn_inside() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    drawn = draw(image, found([[100, 150, 300, 400]]))
    assert not image.any()
    purple = (0xA3, 0x51, 0xFB)
    for y, x in ((400, 200), (300, 100), (300, 300), (150, 280)):
        assert tuple(drawn[y, x]) == purple
    assert not drawn[160:390, 110:290].any()
    assert not drawn[:110].any() and not drawn[410:].any()


@pytest.mark.parametrize("box", [[0, 0, 60, 60], [600, 2, 640, 100], [-30, 440, 20, 500], [0, 0, 640, 480]])
def test_a_label_is_as_large_in_a_corner_as_in_the_middle(box: list[float]) -> None:
    def letters(boxes: list[list[float]]) -> int:
        drawn = draw(np.zeros((480, 640, 3), np.uint8), found(boxes))
        return int((drawn == 255).all(axis=2).sum())  # white letters on purple

    assert letters([box]) == pytest.approx(letters([[200, 200, 400, 400]]), rel=0.05)


def test_labels_of_two_objects_at_one_place_do_not_cover_each_other() -> None:
    def letters(boxes: list[list[float]]) -> int:
        drawn = draw(np.zeros((480, 640, 3), np.uint8), found(boxes))
        return int((drawn == 255).all(axis=2).sum())

    one = letters([[200, 200, 400, 400]])
    assert letters([[200, 200, 400, 400], [202, 201, 398, 402]]) == pytest.approx(2 * one, rel=0.05)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (20, 3000), (3000, 20), (2000, 3000)])
def test_every_size_of_picture_can_be_drawn_on(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    drawn = draw(image, found([[0, 0, size[1], size[0]], [size[1] / 2, size[0] / 2, size[1], size[0]]], "кошка été"))
    assert drawn.shape == image.shape and drawn.dtype == np.uint8 and drawn.any()


def test_detections_without_names_or_scores_are_drawn_too() -> None:
    bare = sv.Detections(xyxy=np.array([[10, 20, 50, 60]], np.float32), class_id=np.array([3]))
    assert draw(np.zeros((100, 100, 3), np.uint8), bare).any()
