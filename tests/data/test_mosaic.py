"""Mosaic and mixup: boxes stay on their objects, whatever is cut away is gone, and the draws repeat."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multibox.data.augment import AugmentSpec
from multibox.data.dataset import Dataset, Record
from multibox.data.mosaic import mixup, mosaic
from multibox.data.photo import EncodedPhoto
from multibox.data.samples import TrainSamples, collate
from multibox.data.view import Item, View
from multibox.spec import InputSpec

COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))


def network(**changes: object) -> InputSpec:
    return InputSpec(**{"height": 300, "width": 320, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), **changes})


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def colored_object(index: int, rng: np.random.Generator) -> Item:
    """A black photo of a random size with one object of the index's colour."""
    width, height = rng.integers(200, 900, 2)
    x1, y1 = rng.integers(0, width - 80), rng.integers(0, height - 80)
    x2, y2 = rng.integers(x1 + 60, width + 1), rng.integers(y1 + 60, height + 1)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y1:y2, x1:x2] = COLORS[index]
    box = np.array([[x1, y1, x2, y2]], np.float32)
    return Item(EncodedPhoto(encoded(pixels), "photo"), box, np.array([index]))


def extent(image: np.ndarray, index: int) -> np.ndarray:
    """x1, y1, x2, y2 of the pixels that have mostly the index's colour."""
    near = np.abs(image.astype(int) - COLORS[index]).max(axis=2) < 128
    y, x = np.nonzero(near)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_boxes_of_a_mosaic_lie_on_their_objects_within_a_pixel(resize: str) -> None:
    rng, seen = np.random.default_rng(0), 0
    target = network(resize=resize)
    for _ in range(25):
        view = mosaic([colored_object(index, rng) for index in range(4)], (0.5, 1.0), (0, 0, 0), target, rng)
        assert view.image.shape == (300, 320, 3)
        for box, label in zip(view.boxes, view.labels, strict=True):
            np.testing.assert_allclose(box * [320, 300, 320, 300], extent(view.image, label), atol=1.51)
            seen += 1
    assert seen > 50


def test_the_four_photos_meet_at_one_point_and_leave_no_gap_where_they_are_large() -> None:
    rng = np.random.default_rng(1)
    items = [Item(EncodedPhoto(encoded(np.full((300, 320, 3), color, np.uint8)), ""), np.zeros((0, 4), np.float32),
                  np.zeros(0, np.int64)) for color in COLORS]  # fmt: skip
    view = mosaic(items, (1.0, 1.0), (9, 9, 9), network(), rng)
    corners = [view.image[y, x] for y in (0, -1) for x in (0, -1)]
    assert [tuple(corner) for corner in corners] == list(COLORS)
    assert not (view.image == 9).all(axis=2).any() and view.area == (0, 0, 320, 300) and view.boxes.shape == (0, 4)


def test_mixup_shows_both_and_keeps_the_objects_of_both() -> None:
    a, b = (
        View(np.full((4, 4, 3), grey, np.uint8), area, np.full((n, 4), 0.5, np.float32), np.full(n, n))
        for grey, area, n in ((200, (0, 0, 2, 4), 1), (100, (1, 1, 4, 3), 2))
    )
    mixed = mixup(a, b, np.random.default_rng(0))
    assert 130 < mixed.image[0, 0, 0] < 170 and mixed.area == (0, 0, 4, 4) and mixed.labels.tolist() == [1, 2, 2]


def dataset(folder: Path, count: int, *, empty: bool = False) -> Dataset:
    rng, records = np.random.default_rng(0), []
    for index in range(count):
        item = colored_object(index % 4, rng)
        width, height = item.photo.size
        path = folder / f"{index}.png"
        Image.fromarray(item.photo.read()).save(path)
        kept = 0 if empty else 1
        flags = np.zeros(kept, np.bool_)
        records.append(Record(index, path, width, height, item.boxes[:kept], item.labels[:kept], flags, flags))
    return Dataset(("r", "g", "b", "w"), (1, 2, 3, 4), tuple(records), folder, "voc", "train")


ALL = AugmentSpec(mosaic=0.5, mixup=0.5)


def test_samples_depend_on_seed_epoch_and_index_alone_and_not_on_what_was_asked_before(tmp_path: Path) -> None:
    data = dataset(tmp_path, 6)

    def sample(epoch: int, *before: int) -> np.ndarray:
        samples = TrainSamples(data, network(), ALL, 7)
        samples.set_epoch(epoch)
        _ = [samples[index] for index in before]
        return collate([samples[2], samples[5]])

    one, again, later = sample(1), sample(1, 0, 5, 3), sample(2)
    assert np.array_equal(one.images, again.images) and np.array_equal(one.boxes, again.boxes)
    assert not np.array_equal(one.images, later.images)


def test_the_last_epochs_are_as_without_mosaic_and_mixup(tmp_path: Path) -> None:
    data = dataset(tmp_path, 4)
    several, plain = (TrainSamples(data, network(), spec, 0, mixed_epochs=3) for spec in (ALL, AugmentSpec()))
    for epoch, equal in ((2, False), (3, True), (9, True)):
        for each in (several, plain):
            each.set_epoch(epoch)
        pairs = [np.array_equal(several[index].image, plain[index].image) for index in range(4)]
        assert all(pairs) == equal


@pytest.mark.parametrize(("count", "empty"), [(1, False), (1, True), (3, True)])
def test_one_photo_and_photos_without_objects_are_legal(tmp_path: Path, count: int, empty: bool) -> None:
    samples = TrainSamples(dataset(tmp_path, count, empty=empty), network(), AugmentSpec(mosaic=1, mixup=1), 0)
    batch = collate([samples[0], samples[0]])
    assert batch.images.shape == (2, 300, 320, 3) and batch.valid.any() != empty


def test_objects_of_which_less_than_a_pixel_is_left_are_dropped(tmp_path: Path) -> None:
    data = dataset(tmp_path, 2)
    tiny = [Record(r.image_id, r.path, r.width, r.height, np.array([[50, 50, 50.5, 90]], np.float32), r.labels[:1],
                   r.crowd, r.difficult) for r in data.records]  # fmt: skip
    samples = TrainSamples(Dataset(data.names, data.ids, tuple(tiny), tmp_path, "voc", "train"), network(),
                           AugmentSpec(mosaic=1), 0)  # fmt: skip
    assert not collate([samples[0], samples[1]]).valid.any()
