"""Preparing: the sheet's resize to the letter, and boxes that find back to the photo."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from multibox.images.prepare import fill_color, prepare
from multibox.spec import InputSpec

NOISE = np.random.default_rng(0).integers(0, 255, (375, 500, 3), np.uint8)


def spec(**changes: object) -> InputSpec:
    return InputSpec(**{"height": 300, "width": 320, "mean": (123.0, 117.0, 104.0), "std": (1.0, 1.0, 1.0), **changes})


def test_bilinear_is_opencvs() -> None:
    np.testing.assert_array_equal(prepare(NOISE, spec()).pixels, cv2.resize(NOISE, (320, 300)))


def test_bilinear_antialias_is_pillows() -> None:
    expected = np.asarray(Image.fromarray(NOISE).resize((320, 300), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(prepare(NOISE, spec(interpolation="bilinear_antialias")).pixels, expected)


@pytest.mark.parametrize(
    ("size", "method"),
    [
        ((800, 640), cv2.INTER_CUBIC),
        ((320, 300), cv2.INTER_AREA),
        ((640, 300), cv2.INTER_LINEAR),
        ((320, 500), cv2.INTER_LINEAR),
        ((500, 300), cv2.INTER_LINEAR),
        ((640, 375), cv2.INTER_LINEAR),
    ],
)
def test_by_size_is_cubic_where_both_sides_grow_and_area_where_both_shrink(size: tuple[int, int], method: int) -> None:
    width, height = size
    pixels = prepare(NOISE, spec(width=width, height=height, interpolation="by_size")).pixels
    np.testing.assert_array_equal(pixels, cv2.resize(NOISE, size, interpolation=method))


def test_an_image_of_the_networks_size_is_unchanged() -> None:
    np.testing.assert_array_equal(prepare(NOISE, spec(height=375, width=500)).pixels, NOISE)


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", [(375, 500), (500, 375), (300, 320), (1, 999), (7, 3)])
def test_boxes_find_back_to_the_photo(resize: str, size: tuple[int, int]) -> None:
    prepared = prepare(np.zeros((*size, 3), np.uint8), spec(resize=resize))
    assert prepared.pixels.shape == (300, 320, 3)
    height, width = size
    photo = np.array([[0, 0, width, height], [width * 0.2, height * 0.3, width * 0.6, height * 0.9]], np.float32)
    scale = np.array([prepared.scale_x, prepared.scale_y] * 2)
    fractions = (photo * scale + np.array([prepared.pad_x, prepared.pad_y] * 2)) / np.array([320, 300] * 2)
    np.testing.assert_allclose(prepared.to_photo(fractions.astype(np.float32)), photo, atol=1e-3 * max(size))


def test_no_boxes_stay_no_boxes() -> None:
    assert prepare(NOISE, spec()).to_photo(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_a_letterboxed_photo_keeps_its_proportions_on_the_mean_colour() -> None:
    prepared = prepare(np.full((100, 200, 3), 255, np.uint8), spec(height=320, resize="letterbox"))
    assert (prepared.pad_x, prepared.pad_y, prepared.scale_x, prepared.scale_y) == (0, 80, 1.6, 1.6)
    assert (prepared.pixels[:80] == (123, 117, 104)).all() and (prepared.pixels[240:] == (123, 117, 104)).all()
    assert (prepared.pixels[80:240] == 255).all()


def test_boxes_over_the_padding_are_cut_off() -> None:
    prepared = prepare(np.zeros((100, 200, 3), np.uint8), spec(height=320, resize="letterbox"))
    whole = prepared.to_photo(np.array([[0, 0, 1, 1]], np.float32))
    np.testing.assert_allclose(whole, [[0, 0, 200, 100]])


def test_the_mean_of_a_bgr_model_fills_as_rgb() -> None:
    assert fill_color(spec(color="bgr", mean=(104.0, 117.0, 123.0))) == (123, 117, 104)
