"""Caches: the same boxes, nearly the same pixels, shared by processes, rebuilt where invalid, refused without room."""

from __future__ import annotations

import multiprocessing
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.data import free_space
from multibox.data.augment import AugmentSpec
from multibox.data.cache import open_photos
from multibox.data.dataset import Dataset, Record
from multibox.data.decoded import DiskPhotos, kept_size
from multibox.data.samples import TrainSamples
from multibox.errors import DataError, UsageError
from multibox.spec import InputSpec

INPUT = InputSpec(height=60, width=80, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIBOX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Smooth photos, two of them larger than twice the input, one smaller, one not JPEG, one upright by EXIF alone."""
    rng, records = np.random.default_rng(0), []
    for index, (width, height) in enumerate([(640, 480), (300, 500), (70, 50), (320, 240)]):
        pixels = cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        path = tmp_path / f"{index}.{'png' if index == 3 else 'jpg'}"
        cv2.imwrite(str(path), pixels)
        box = np.array([[0.2 * width, 0.3 * height, 0.6 * width, 0.9 * height]], np.float32)
        flags = np.zeros(1, np.bool_)
        records.append(Record(index, path, width, height, box, np.zeros(1, np.int64), flags, flags))
    return Dataset(("x",), (1,), tuple(records), tmp_path, "voc", "train")


def test_photos_are_kept_with_headroom_and_never_enlarged() -> None:
    assert kept_size((640, 480), INPUT, 2.0) == (160, 120)
    assert kept_size((70, 50), INPUT, 2.0) == (70, 50)
    assert kept_size((1000, 500), INPUT, 1.0) == (120, 60)  # stretched: both sides have enough
    assert kept_size((1000, 500), replace(INPUT, resize="letterbox"), 1.0) == (80, 40)


@pytest.mark.parametrize("kind", ["bytes", "ram", "disk", True])
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("spec", [AugmentSpec(mosaic=0.5), AugmentSpec.none()])
def test_a_cache_gives_the_same_objects_and_nearly_the_same_pixels(dataset, kind, resize, spec) -> None:
    network = replace(INPUT, resize=resize)
    plain, cached = (TrainSamples(dataset, network, spec, 1, cache=each) for each in ("none", kind))
    for index in range(4):
        a, b = plain[index], cached[index]
        np.testing.assert_allclose(a.boxes, b.boxes, atol=1.6 / 60)  # a stored pixel may be several of the photo
        np.testing.assert_array_equal(a.labels, b.labels)
        far = np.abs(a.image.astype(int) - b.image)
        assert far.mean() < (3 if kind in ("ram", "disk") else 1e-9)
    assert "4" in cached.cached and "MB" in cached.cached and plain.cached == ""


@pytest.mark.parametrize("kind", ["none", "bytes", "ram", "disk"])
def test_samples_travel_by_pickle_and_are_the_same_there(dataset, kind) -> None:
    samples = TrainSamples(dataset, INPUT, AugmentSpec(), 1, cache=kind)
    travelled = pickle.loads(pickle.dumps(samples))
    assert all(np.array_equal(samples[index].image, travelled[index].image) for index in range(4))


def test_a_process_of_its_own_sees_the_memory_that_its_parent_filled(dataset) -> None:
    samples = TrainSamples(dataset, INPUT, AugmentSpec.none(), cache="ram")
    for record in dataset.records:
        record.path.unlink()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (there,) = pool.map(samples.__getitem__, [1])
    assert np.array_equal(there.image, samples[1].image)
    assert len(pickle.dumps(samples)) < 10_000


def test_the_disk_is_used_again_and_only_what_changed_is_made_anew(dataset) -> None:
    def said() -> str:
        return open_photos("disk", dataset.records, INPUT, 2.0).said

    assert "(4 new)" in said() and "(0 new)" in said()
    cv2.imwrite(str(dataset.records[0].path), np.zeros((480, 640, 3), np.uint8))
    assert "(1 new)" in said()
    other = open_photos("disk", dataset.records, INPUT, 1.0)
    assert "(3 new)" in other.said  # the small photo is kept at its own size in both


def test_a_cut_file_is_made_anew_and_one_taken_away_while_training_is_read_from_the_photo(dataset, tmp_path) -> None:
    photos = DiskPhotos(dataset.records, INPUT, 2.0)
    kept = photos.photo(0).read().copy()
    files = sorted((tmp_path / "cache/decoded").rglob("*.rgb"))
    assert len(files) == 4 and not list((tmp_path / "cache/decoded").rglob("*.part*"))
    for file in files:
        file.write_bytes(file.read_bytes()[:-1])
    assert photos.photo(0).size == (640, 480) and photos.photo(0).read().shape == (480, 640, 3)
    again = DiskPhotos(dataset.records, INPUT, 2.0)
    assert "(4 new)" in again.said and np.array_equal(again.photo(0).read(), kept)


@pytest.mark.parametrize("kind", ["bytes", "ram"])
def test_too_little_memory_is_one_sentence_before_anything_is_read(dataset, kind, monkeypatch) -> None:
    monkeypatch.setattr(free_space, "free_memory", lambda: 1000)
    with pytest.raises(UsageError, match=rf"cache '{kind}' of 4 .* memory and 0\.0 MB are free; use cache"):
        TrainSamples(dataset, INPUT, AugmentSpec(), cache=kind)


def test_a_full_disk_is_one_sentence(dataset, monkeypatch) -> None:
    monkeypatch.setattr(free_space.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    with pytest.raises(UsageError, match=r"cache 'disk' of 4 more decoded photos needs .* are free; use cache bytes"):
        TrainSamples(dataset, INPUT, AugmentSpec(), cache="disk")


def test_a_containers_limit_counts(tmp_path) -> None:
    for name, text in (("max", "5000\n"), ("current", "3000\n"), ("stat", "anon 1\ninactive_file 500\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert free_space._below_limit(tmp_path) == 2500
    (tmp_path / "memory.max").write_text("max\n")
    assert free_space._below_limit(tmp_path) is None
    assert free_space.free_memory() > 10**6


@pytest.mark.parametrize("kind", ["bytes", "ram", "disk"])
def test_a_photo_that_cannot_be_read_is_named(dataset, kind) -> None:
    path = dataset.records[1].path
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DataError, match=r"1\.jpg"):
        TrainSamples(dataset, INPUT, AugmentSpec(), cache=kind)[1]
