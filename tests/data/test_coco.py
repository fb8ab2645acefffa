"""The COCO layout and its relatives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multibox.data.check import check_dataset, refuse_fatal
from multibox.data.open import list_splits, open_dataset
from multibox.errors import DataError


def write_image(path: Path, width: int = 60, height: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 99, np.uint8)).save(path)
    return path


def coco_content(
    annotations: list[dict[str, object]], images: int = 2, names: tuple[str, ...] = ("cat", "dog")
) -> dict[str, object]:
    return {
        "images": [{"id": 10 + i, "file_name": f"{i}.jpg", "width": 60, "height": 40} for i in range(images)],
        "annotations": annotations,
        "categories": [{"id": 7 * (i + 1), "name": name} for i, name in enumerate(names)],
    }


def write_coco(file: Path, folder: Path, content: dict[str, object]) -> None:
    """An annotation file and its images."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    for image in content["images"]:  # type: ignore[attr-defined]
        write_image(folder / image["file_name"])


def truth(image: object = 10, category: object = 7, bbox: object = (1, 2, 10, 20), **more: object) -> dict[str, object]:
    return {"image_id": image, "category_id": category, "bbox": bbox, "iscrowd": 0, **more}


def test_records_hold_what_the_file_states(tmp_path: Path) -> None:
    annotations = [truth(area=50.5), truth(category=14, iscrowd=1), truth(image=11)]
    write_coco(tmp_path / "annotations/instances_train2017.json", tmp_path / "train2017", coco_content(annotations))
    dataset = open_dataset(tmp_path, "train")
    record = dataset.records[0]
    assert (dataset.names, dataset.ids, dataset.layout) == (("cat", "dog"), (7, 14), "coco")
    assert record.boxes.tolist() == [[1, 2, 11, 22]] * 2
    assert record.labels.tolist() == [0, 1] and record.crowd.tolist() == [False, True]
    assert record.area.tolist() == [50.5, 200.0]
    assert (record.image_id, record.path.parent.name, len(dataset)) == (10, "train2017", 2)


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("annotations/instances_train.json", "images"),
        ("annotations/instances_train.json", "train"),
        ("annotations/instances_train2017.json", "images/train2017"),
        ("annotations/train.json", "images/train"),
        ("train/_annotations.coco.json", "train"),
    ],
)
def test_known_forms_are_found_by_the_folder(tmp_path: Path, file: str, folder: str) -> None:
    write_coco(tmp_path / file, tmp_path / folder, coco_content([truth()]))
    dataset = open_dataset(tmp_path, "train")
    assert len(dataset) == 2 and dataset.problems == () and dataset.records[1].boxes.shape == (0, 4)


def test_roboflows_valid_is_val_and_trainval_joins_with_ids_of_its_own(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_coco(tmp_path / split / "_annotations.coco.json", tmp_path / split, coco_content([truth()]))
    assert list_splits(tmp_path) == ["train", "valid"]
    assert open_dataset(tmp_path, "val").records[0].path.parent.name == "valid"
    assert [record.image_id for record in open_dataset(tmp_path, "trainval").records] == [1, 2, 3, 4]


def test_two_years_of_one_split_must_be_told_apart(tmp_path: Path) -> None:
    for year in ("2014", "2017"):
        file = tmp_path / f"annotations/instances_val{year}.json"
        write_coco(file, tmp_path / f"val{year}", coco_content([truth()]))
    with pytest.raises(DataError, match="say which of val2014, val2017"):
        open_dataset(tmp_path, "val")
    assert open_dataset(tmp_path, "val2014").records[0].path.parent.name == "val2014"


@pytest.mark.parametrize(
    ("annotation", "words", "fatal"),
    [
        (truth(bbox=[5, 5, 0, 9]), r"\[5, 5, 0, 9\].*no area", False),
        (truth(bbox=[5, 5, float("nan"), 9]), "not four numbers", False),
        (truth(bbox=[5, 5, 9]), "not four numbers", False),
        (truth(bbox=None), "not four numbers", False),
        (truth(bbox=[500, 5, 9, 9]), "outside the image of 60 x 40", False),
        (truth(category=99), "unknown class 'category 99'; known are cat, dog", True),
        (truth(category=None), "unknown class", True),
        (truth(image=77), "annotates image 77", False),
        (truth(image=[1]), "which the file does not list", False),
    ],
)
def test_a_broken_annotation_is_named(tmp_path: Path, annotation: dict[str, object], words: str, fatal: bool) -> None:
    content = coco_content([truth(), annotation])
    write_coco(tmp_path / "annotations/instances_train.json", tmp_path / "images", content)
    dataset = open_dataset(tmp_path)
    assert sum(len(record.boxes) for record in dataset.records) == 1
    (problem,) = check_dataset(dataset)
    assert problem.file.name == "instances_train.json" and problem.object.startswith("object 1 ")
    assert problem.fatal is fatal
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(str(problem))


def test_a_missing_and_a_broken_image_are_fatal(tmp_path: Path) -> None:
    write_coco(tmp_path / "annotations/instances_train.json", tmp_path / "images", coco_content([], images=3))
    (tmp_path / "images/0.jpg").unlink()
    (tmp_path / "images/1.jpg").write_text("no image")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 2
    with pytest.raises(DataError, match=r"2 unusable entries: .*'0.jpg' is missing.*1\.jpg is not an image"):
        refuse_fatal(check_dataset(dataset))


def test_an_image_of_another_size_than_stated_is_told(tmp_path: Path) -> None:
    write_coco(tmp_path / "annotations/instances_train.json", tmp_path / "images", coco_content([truth()], images=1))
    write_image(tmp_path / "images/0.jpg", 40, 60)
    (problem,) = check_dataset(open_dataset(tmp_path))
    assert "is 40 x 60, its annotation says 60 x 40" in problem.message and not problem.fatal


def test_names_that_differ_in_case_only_are_told(tmp_path: Path) -> None:
    content = coco_content([truth()], names=("Cat", "cat"))
    write_coco(tmp_path / "annotations/instances_train.json", tmp_path / "images", content)
    (problem,) = check_dataset(open_dataset(tmp_path))
    assert "'Cat' and 'cat' differ in case only" in problem.message


def test_given_names_fix_order_and_keep_the_ids_of_the_file(tmp_path: Path) -> None:
    write_coco(tmp_path / "annotations/instances_train.json", tmp_path / "images", coco_content([truth()]))
    dataset = open_dataset(tmp_path, names=["bird", "dog", "cat"])
    assert dataset.ids == (15, 14, 7) and dataset.records[0].labels.tolist() == [2]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": [], "annotations": [], "categories": [3]}', "\x00"])
def test_a_file_that_is_not_coco_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_train.json").write_text(text)
    with pytest.raises(DataError, match=r"instances_train\.json"):
        open_dataset(tmp_path)


def test_folders_without_a_known_layout_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root, words in ((tmp_path, "no known layout"), (tmp_path / "file", "is a file"), (tmp_path / "x", "no such")):
        with pytest.raises(DataError, match=words):
            open_dataset(root)


@pytest.mark.parametrize(
    ("name", "split", "images", "objects", "classes"),
    [
        ("coco_sample", "train", 320, 2671, 80),
        ("coco_sample", "val", 164, 1560, 80),
        ("hardhat", "train", 1868, 8083, 2),
        ("hardhat", "val", 467, 2114, 2),
    ],
)
def test_real_datasets_open_whole(
    shared_data: Path, name: str, split: str, images: int, objects: int, classes: int
) -> None:
    dataset = open_dataset(shared_data / name, split)
    assert (len(dataset), sum(len(r.boxes) for r in dataset.records), len(dataset.names)) == (images, objects, classes)
    assert check_dataset(dataset) == []
    for record in dataset.records:
        assert (record.boxes[:, 2:] > record.boxes[:, :2]).all()
        assert (record.boxes >= 0).all() and (record.boxes <= np.array([record.width, record.height] * 2)).all()
