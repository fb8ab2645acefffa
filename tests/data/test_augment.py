"""Augmentation: boxes stay on their objects, draws repeat, and nothing drawn is what prediction sees."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from multibox.data.augment import AugmentSpec, augment
from multibox.data.dataset import Dataset, Record
from multibox.data.finish import Finish, finish
from multibox.data.photometric import Photometric, draw_matrix, mean_color
from multibox.data.samples import Batch, TrainSamples, collate
from multibox.data.window import CropRule, Window, crop_window, zoom_window
from multibox.errors import DataError
from multibox.images.prepare import prepare
from multibox.images.read import read_image
from multibox.spec import InputSpec

NO_BOXES = np.zeros((0, 4), np.float32)
NO_LABELS = np.zeros(0, np.int64)


def network(**changes: object) -> InputSpec:
    return InputSpec(**{"height": 300, "width": 320, "mean": (123.0, 117.0, 104.0), "std": (1.0, 1.0, 1.0), **changes})


def encoded(pixels: np.ndarray, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {"compress_level": 1}))
    return buffer.getvalue()


def white_box(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A black photo of a random size with one white object, and its box."""
    width, height = rng.integers(100, 1500, 2)
    x1, y1 = rng.integers(0, width - 60), rng.integers(0, height - 60)
    x2, y2 = rng.integers(x1 + 50, width + 1), rng.integers(y1 + 50, height + 1)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y1:y2, x1:x2] = 255
    return pixels, np.array([[x1, y1, x2, y2]], np.float32)


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bilinear_antialias", "by_size"])
def test_boxes_lie_on_their_object_within_a_pixel(resize: str, kind: str, interpolation: str) -> None:
    rng = np.random.default_rng(0)
    spec = AugmentSpec(photometric=None, fill=(0, 0, 0))
    seen = 0
    for _ in range(60):
        pixels, box = white_box(rng)
        target = network(resize=resize, interpolation=interpolation, mean=(0.0, 0.0, 0.0))
        sample = augment(encoded(pixels, kind), box, np.array([3]), spec, target, rng)
        if not len(sample.boxes):
            continue
        y, x = np.nonzero(sample.image[:, :, 0] > 127)
        measured = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
        np.testing.assert_allclose(sample.boxes[0] * [320, 300, 320, 300], measured, atol=1.01)
        seen += 1
    assert seen > 40


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bilinear_antialias", "by_size"])
def test_nothing_drawn_is_what_prediction_sees(resize: str, interpolation: str) -> None:
    pixels, box = white_box(np.random.default_rng(3))
    target, data = network(resize=resize, interpolation=interpolation), encoded(pixels)
    sample = augment(data, box, np.array([0]), AugmentSpec.none(), target, np.random.default_rng(0))
    prepared = prepare(read_image(data), target)
    np.testing.assert_array_equal(sample.image, prepared.pixels)
    np.testing.assert_allclose(prepared.to_photo(sample.boxes), box, atol=1e-2)


def test_a_flip_mirrors_pixels_and_boxes() -> None:
    data = encoded(np.random.default_rng(0).integers(0, 255, (90, 130, 3), np.uint8))
    box = np.array([[13, 9, 65, 45]], np.float32)
    plain, flipped = (
        augment(
            data,
            box,
            np.array([0]),
            AugmentSpec(photometric=None, zoom_out_p=0, crop=None, flip_p=p),
            network(),
            np.random.default_rng(0),
        )
        for p in (0.0, 1.0)
    )
    np.testing.assert_array_equal(flipped.image, plain.image[:, ::-1])
    np.testing.assert_allclose(flipped.boxes, [[0.5, 0.1, 0.9, 0.5]], atol=1e-6)


def test_samples_are_contiguous_of_fixed_types_and_inside_the_input() -> None:
    rng = np.random.default_rng(1)
    data = encoded(rng.integers(0, 255, (333, 500, 3), np.uint8))
    corner = rng.uniform(0, 250, (30, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(2, 80, (30, 2))], axis=1).astype(np.float32)
    for _ in range(50):
        sample = augment(data, boxes, np.arange(30), AugmentSpec(), network(), rng)
        assert sample.image.shape == (300, 320, 3) and sample.image.dtype == np.uint8
        assert sample.boxes.dtype == np.float32 and sample.labels.dtype == np.int64
        assert sample.boxes.shape == (len(sample.labels), 4)
        assert (sample.boxes >= 0).all() and (sample.boxes <= 1).all()
        assert (sample.boxes[:, 2:] > sample.boxes[:, :2]).all()


def test_an_image_without_objects_and_one_of_a_single_pixel_are_legal() -> None:
    rng = np.random.default_rng(0)
    for shape in ((50, 70, 3), (1, 1, 3), (1, 400, 3)):
        for _ in range(20):
            data = encoded(np.zeros(shape, np.uint8))
            sample = augment(data, NO_BOXES, NO_LABELS, AugmentSpec(), network(), rng)
            assert sample.boxes.shape == (0, 4) and sample.image.shape == (300, 320, 3)


def test_zoom_out_keeps_the_photo_inside_a_canvas_of_its_shape() -> None:
    rng, photo = np.random.default_rng(0), Window(0, 0, 200, 100)
    for _ in range(200):
        canvas = zoom_window(photo, 4.0, rng)
        assert canvas.x1 <= 0 and canvas.y1 <= 0 and canvas.x2 >= 200 and canvas.y2 >= 100
        assert 200 <= canvas.width <= 800 and abs(canvas.width - 2 * canvas.height) <= 2


def test_a_crop_has_the_iou_aspect_and_scale_it_was_drawn_for() -> None:
    rng, canvas = np.random.default_rng(0), Window(-30, -20, 370, 280)
    boxes = np.array([[10, 10, 120, 150], [200, 100, 300, 220]], np.float32)
    for least in (0.0, 0.3, 0.5, 0.9):
        for _ in range(40):
            crop = crop_window(canvas, boxes, CropRule(options=(least, 1.0)), rng)
            if crop == canvas:
                continue
            assert canvas.x1 <= crop.x1 and crop.x2 <= canvas.x2 and canvas.y1 <= crop.y1 and crop.y2 <= canvas.y2
            assert 0.5 <= crop.width / crop.height <= 2.0
            assert 0.3 * 400 - 1 <= crop.width <= 400 and 0.3 * 300 - 1 <= crop.height <= 300
            assert box_ious(crop, boxes)[crop.holds_centers(boxes)].max() >= least


def test_crops_without_the_whole_image_among_the_options_end() -> None:
    tiny = np.array([[1, 1, 2, 2]], np.float32)
    canvas = Window(0, 0, 500, 500)
    assert crop_window(canvas, tiny, CropRule(options=(0.9,)), np.random.default_rng(0)) == canvas


@pytest.mark.parametrize("objects", ["all", "all_or_none"])
def test_a_crop_can_ask_for_the_iou_of_all_objects(objects: Literal["all", "all_or_none"]) -> None:
    rng, canvas = np.random.default_rng(0), Window(0, 0, 400, 300)
    boxes = np.array([[100, 80, 300, 240], [120, 60, 320, 230]], np.float32)
    rule, seen = CropRule(options=(0.4, 1.0), objects=objects), 0
    for _ in range(60):
        crop = crop_window(canvas, boxes, rule, rng)
        if crop != canvas:
            iou = box_ious(crop, boxes)
            assert crop.holds_centers(boxes).any()
            assert iou.min() >= 0.4 or (objects == "all_or_none" and iou.max() <= 0.6)
            seen += 1
    assert seen > 20


def test_a_crop_drawn_by_scale_and_aspect_has_that_area_and_shape() -> None:
    rng, canvas = np.random.default_rng(0), Window(0, 0, 800, 400)
    rule = CropRule(options=(0.0,), shape="scale_aspect", trials=1)
    crops = [crop_window(canvas, np.zeros((0, 4), np.float32), rule, rng) for _ in range(300)]
    shapes = np.array([(crop.width / 800, crop.height / 400) for crop in crops])
    scale, aspect = np.sqrt(shapes.prod(1)), shapes[:, 0] / shapes[:, 1]
    assert (scale > 0.29).all() and (scale <= 1).all() and scale.min() < 0.35
    assert (aspect > 0.48).all() and (aspect < 2.05).all() and aspect.max() > 1.8


def box_ious(crop: Window, boxes: np.ndarray) -> np.ndarray:
    cut = crop.clip(boxes)
    overlap = (cut[:, 2:] - cut[:, :2]).clip(0).prod(1)
    return overlap / (crop.width * crop.height + (boxes[:, 2:] - boxes[:, :2]).prod(1) - overlap)


def test_objects_whose_centre_is_cut_away_are_dropped_with_their_labels() -> None:
    rng = np.random.default_rng(0)
    data = encoded(np.zeros((300, 320, 3), np.uint8))
    boxes = np.array([[0, 0, 100, 100], [200, 180, 320, 300]], np.float32)
    kept = [augment(data, boxes, np.array([4, 9]), AugmentSpec(), network(), rng).labels.tolist() for _ in range(80)]
    assert {tuple(labels) for labels in kept} == {(4,), (9,), (4, 9)}


def distort(image: np.ndarray, spec: Photometric, rng: np.random.Generator) -> np.ndarray:
    """The whole image with its colours changed by one draw."""
    area = (0, 0, image.shape[1], image.shape[0])
    return finish(image, Finish(draw_matrix(spec, mean_color(image, area), rng), area, False))


def always(**ranges: Any) -> Photometric:
    """Every step with probability one, those not named at their neutral value."""
    neutral = {"brightness": (1.0, 1.0), "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": (0.0, 0.0)}
    return Photometric(p=1.0, **{**neutral, **ranges})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [[100, 50, 30]]),
        ({"brightness": (1.1, 1.1)}, [[110, 55, 33]]),
        ({"brightness_shift": (-20.0, -20.0)}, [[80, 30, 10]]),
        ({"contrast": (0.5, 0.5)}, [[81, 56, 46]]),
        ({"contrast": (0.5, 0.5), "contrast_about": 0.0}, [[50, 25, 15]]),
        ({"contrast": (0.5, 0.5), "contrast_about": 128.0}, [[114, 89, 79]]),
        ({"saturation": (0.0, 0.0)}, [[63, 63, 63]]),
        ({"saturation": (0.5, 0.5)}, [[81, 56, 46]]),
    ],
)
def test_each_photometric_step_is_its_formula(changes: dict[str, Any], expected: list[int]) -> None:
    image = np.full((4, 4, 3), (100, 50, 30), np.uint8)
    assert np.abs(distort(image, always(**changes), np.random.default_rng(0))[0, 0].astype(int) - expected).max() <= 1


def test_hue_keeps_grey_and_luma_and_turns_back() -> None:
    mean = np.array([90.0, 80.0, 70.0])
    turn, back = (draw_matrix(always(hue=(h, h)), mean, np.random.default_rng(0)) for h in (0.05, -0.05))
    assert turn is not None and back is not None
    np.testing.assert_allclose(turn[:, :3] @ np.full(3, 128.0), np.full(3, 128.0), atol=0.01)
    np.testing.assert_allclose(turn[:, :3] @ back[:, :3], np.eye(3), atol=1e-9)
    assert np.array([0.299, 0.587, 0.114]) @ turn[:, :3] @ mean == pytest.approx(
        np.array([0.299, 0.587, 0.114]) @ mean, abs=0.01
    )


def test_no_photometric_draw_is_no_copy() -> None:
    image = np.zeros((3, 3, 3), np.uint8)
    assert distort(image, Photometric(p=0.0), np.random.default_rng(0)) is image


def test_a_broken_image_is_named_while_training(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded(np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8))[:900])
    for spec in (AugmentSpec(), AugmentSpec.none()):
        with pytest.raises(DataError, match=r"cut\.jpg"):
            augment(path, NO_BOXES, NO_LABELS, spec, network(), np.random.default_rng(0))


def small_dataset(folder: Path, counts: tuple[int, ...] = (2, 0, 5)) -> Dataset:
    rng = np.random.default_rng(0)
    records = []
    for index, count in enumerate(counts):
        path = folder / f"{index}.jpg"
        path.write_bytes(encoded(rng.integers(0, 255, (120, 160, 3), np.uint8)))
        corner = rng.uniform(0, 60, (count, 2))
        boxes = np.concatenate([corner, corner + 50], axis=1).astype(np.float32)
        crowd = np.arange(count) == 4
        records.append(Record(index, path, 160, 120, boxes, np.zeros(count, np.int64), crowd, np.zeros(count, bool)))
    return Dataset(("x",), (1,), tuple(records), folder, "voc", "train")


def same(a: Batch, b: Batch) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("images", "boxes", "labels", "valid"))


@pytest.mark.parametrize("cache", [False, True])
def test_samples_depend_on_seed_epoch_and_index_alone(tmp_path: Path, cache: bool) -> None:
    dataset = small_dataset(tmp_path)

    def batch(seed: int, epoch: int, travelled: bool = False) -> Batch:
        samples = TrainSamples(dataset, network(), AugmentSpec(), seed, cache=cache)
        samples.set_epoch(epoch)
        samples = pickle.loads(pickle.dumps(samples)) if travelled else samples
        return collate([samples[index] for index in (2, 0, 1)])

    assert same(batch(1, 2), batch(1, 2)) and same(batch(1, 2), batch(1, 2, travelled=True))
    assert not same(batch(1, 2), batch(1, 3)) and not same(batch(1, 2), batch(2, 2))


def test_collate_pads_and_crowd_is_left_out(tmp_path: Path) -> None:
    samples = TrainSamples(small_dataset(tmp_path), network(), AugmentSpec.none())
    batch = collate([samples[index] for index in range(3)])
    assert batch.images.shape == (3, 300, 320, 3) and batch.boxes.shape == (3, 4, 4)
    assert batch.valid.sum(axis=1).tolist() == [2, 0, 4]
    assert (batch.boxes[~batch.valid] == 0).all()


def test_a_batch_without_any_object_is_legal(tmp_path: Path) -> None:
    samples = TrainSamples(small_dataset(tmp_path, (0, 0)), network(), AugmentSpec())
    batch = collate([samples[0], samples[1]])
    assert batch.boxes.shape == (2, 0, 4) and batch.valid.shape == (2, 0)


def test_an_index_beyond_the_end_raises_as_of_a_list(tmp_path: Path) -> None:
    samples = TrainSamples(small_dataset(tmp_path), network(), AugmentSpec())
    assert len(samples) == 3
    with pytest.raises(IndexError):
        samples[3]


def test_what_is_left_to_the_device_is_drawn_the_same_and_gives_the_same(tmp_path: Path) -> None:
    dataset = small_dataset(tmp_path)
    done, left = (TrainSamples(dataset, network(), AugmentSpec(), 3, finished=finished) for finished in (True, False))
    for index in range(3):
        a, b = done[index], left[index]
        assert a.left is None and b.left is not None
        np.testing.assert_array_equal(a.boxes, b.boxes)
        np.testing.assert_array_equal(a.image, finish(b.image, b.left))


def test_colours_of_the_canvas_stay(tmp_path: Path) -> None:
    spec = AugmentSpec(photometric=always(brightness=(2.0, 2.0)), zoom_out_p=1.0, crop=None, flip_p=0, fill=(7, 8, 9))
    data = encoded(np.full((90, 120, 3), 60, np.uint8))
    sample = augment(data, NO_BOXES, NO_LABELS, spec, network(), np.random.default_rng(1))
    photo = (sample.image == 120).all(axis=2)
    assert 0.05 < photo.mean() < 0.9 and (sample.image[~photo] == (7, 8, 9)).all()
