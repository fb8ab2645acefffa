"""The VOC layout, as the standard has it and as it is met."""

from __future__ import annotations

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


def voc_object(name: str, *sides: object, extra: str = "") -> str:
    tags = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True))
    return f"<object><name>{name}</name>{extra}<bndbox>{tags}</bndbox></object>"


def write_voc(
    root: Path, images: dict[str, str], lists: dict[str, str] | None = None, size: tuple[int, int] = (60, 40)
) -> Path:
    """A VOC folder: the objects of each image as xml text, and the lists of splits."""
    (root / "Annotations").mkdir(parents=True)
    for stem, objects in images.items():
        write_image(root / "JPEGImages" / f"{stem}.jpg")
        head = f"<filename>other.png</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        (root / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{head}{objects}</annotation>")
    for split, text in (lists or {}).items():
        path = root / "ImageSets" / "Main" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_records_hold_what_the_files_state(tmp_path: Path) -> None:
    difficult = voc_object("cat", 5, 6, 20, 30, extra="<difficult>1</difficult>")
    root = write_voc(tmp_path, {"a": voc_object("dog", 1, 2, 60, 40) + difficult}, {"train": "a\n"})
    dataset = open_dataset(root, "train")
    record = dataset.records[0]
    assert (dataset.names, dataset.ids, dataset.layout, dataset.problems) == (("cat", "dog"), (1, 2), "voc", ())
    assert record.boxes.tolist() == [[1, 2, 60, 40], [5, 6, 20, 30]]
    assert record.labels.tolist() == [1, 0]
    assert record.difficult.tolist() == [False, True] and not record.crowd.any()
    assert (record.width, record.height, record.path.name) == (60, 40, "a.jpg")
    assert record.area.tolist() == [59 * 38, 15 * 24]


def test_names_are_equal_for_all_splits(tmp_path: Path) -> None:
    images = {"a": voc_object("zebra", 1, 1, 9, 9), "b": voc_object("ape", 1, 1, 9, 9)}
    root = write_voc(tmp_path, images, {"train": "a", "val": "b"})
    assert open_dataset(root, "train").names == open_dataset(root, "val").names == ("ape", "zebra")


def test_an_image_without_objects_is_a_record(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"a": "", "b": voc_object("x", 1, 1, 9, 9)}, {"train": "a\nb"})
    record = open_dataset(root).records[0]
    assert record.boxes.shape == (0, 4) and record.labels.shape == (0,) and record.area.shape == (0,)


def test_trainval_joins_the_lists_where_it_is_not_one(tmp_path: Path) -> None:
    images = {stem: voc_object("x", 1, 1, 9, 9) for stem in "abc"}
    root = write_voc(tmp_path, images, {"train": "c 1\n\na -1\n", "val": "b"})
    dataset = open_dataset(root, "trainval")
    assert [record.path.stem for record in dataset.records] == ["c", "a", "b"]
    assert [record.image_id for record in dataset.records] == [1, 2, 3]


def test_without_lists_all_annotations_are_the_training_split(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {stem: voc_object("x", 1, 1, 9, 9) for stem in "ba"})
    assert [record.path.stem for record in open_dataset(root).records] == ["a", "b"]
    assert list_splits(root) == ["all"]
    with pytest.raises(DataError, match="no split 'val'; it has all"):
        open_dataset(root, "val")


def test_years_below_a_devkit_are_joined(tmp_path: Path) -> None:
    for year, name in (("VOC2007", "cat"), ("VOC2012", "dog")):
        write_voc(tmp_path / "VOCdevkit" / year, {year: voc_object(name, 1, 1, 9, 9)}, {"trainval": year})
    dataset = open_dataset(tmp_path, "trainval")
    assert [record.path.stem for record in dataset.records] == ["VOC2007", "VOC2012"]
    assert dataset.names == ("cat", "dog")
    assert len(open_dataset(tmp_path / "VOCdevkit", "trainval")) == 2


def test_absent_sizes_floats_and_other_image_endings_are_read(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"a": voc_object("x", "1.5", " 2.25 ", 30, 20)}, size=(0, 0))
    (root / "JPEGImages" / "a.jpg").unlink()
    write_image(root / "JPEGImages" / "a.PNG", 70, 50)
    record = open_dataset(root).records[0]
    assert (record.width, record.height) == (70, 50)
    assert record.boxes.tolist() == [[1.5, 2.25, 30, 20]]


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        ((9, 1, 9, 20), r"xmin 9, ymin 1, xmax 9, ymax 20\) has no area"),
        ((30, 1, 10, 20), "has no area"),
        (("nan", 1, 10, 20), "not four numbers"),
        (("left", 1, 10, 20), "xmin left.*not four numbers"),
        ((100, 100, 120, 120), "outside the image of 60 x 40"),
    ],
)
def test_a_broken_box_is_named_and_left_out(tmp_path: Path, sides: tuple[object, ...], words: str) -> None:
    root = write_voc(tmp_path, {"a": voc_object("x", 1, 1, 9, 9) + voc_object("y", *sides)})
    dataset = open_dataset(root)
    assert dataset.records[0].labels.tolist() == [0]
    (problem,) = check_dataset(dataset)
    assert (problem.file.name, problem.object, problem.fatal) == ("a.xml", "object 1 (y)", False)
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(str(problem))
    refuse_fatal([problem])


def test_a_box_over_the_border_is_cut_and_told_beyond_one_pixel(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"a": voc_object("x", -1, 0, 61, 40) + voc_object("x", 10, 10, 99, 30)})
    dataset = open_dataset(root)
    assert dataset.records[0].boxes.tolist() == [[0, 0, 60, 40], [10, 10, 60, 30]]
    assert [problem.object for problem in dataset.problems] == ["object 1 (x)"]


def test_what_cannot_be_used_is_fatal_and_everything_else_is_read(tmp_path: Path) -> None:
    good = voc_object("x", 1, 1, 9, 9)
    root = write_voc(tmp_path, {"a": good, "b": good, "c": good}, {"train": "a\nb\nc\nd"})
    (root / "JPEGImages" / "b.jpg").unlink()
    (root / "Annotations" / "c.xml").write_text("<annotation><object>")
    dataset = open_dataset(root)
    assert [record.path.stem for record in dataset.records] == ["a"]
    assert [(problem.file.name, problem.fatal) for problem in dataset.problems] == [
        ("b.xml", True),
        ("c.xml", True),
        ("d.xml", True),
    ]
    with pytest.raises(DataError, match=r"3 unusable entries: .*'b' is missing.*not readable XML.*no such annotation"):
        refuse_fatal(check_dataset(dataset))


def test_a_class_that_is_not_among_the_given_names_is_fatal(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"a": voc_object("cat", 1, 1, 9, 9) + voc_object("cot", 1, 1, 9, 9)})
    dataset = open_dataset(root, names=["dog", "cat"])
    assert dataset.names == ("dog", "cat") and dataset.records[0].labels.tolist() == [1]
    with pytest.raises(DataError, match=r"object 1 \(cot\): unknown class 'cot'; known are dog, cat"):
        refuse_fatal(dataset.problems)


def test_an_xml_that_expands_entities_is_refused(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"a": voc_object("x", 1, 1, 9, 9), "b": ""})
    bomb = '<!DOCTYPE a [<!ENTITY e "ha"><!ENTITY f "&e;&e;">]><annotation>&f;</annotation>'
    (root / "Annotations" / "b.xml").write_text(bomb)
    (problem,) = open_dataset(root).problems
    assert problem.fatal and problem.file.name == "b.xml"


def test_blood_cells_open_with_their_two_empty_boxes_named(shared_data: Path) -> None:
    root = shared_data / "bccd"
    dataset = open_dataset(root, "trainval")
    assert (len(dataset), dataset.names) == (292, ("Platelets", "RBC", "WBC"))
    problems = check_dataset(dataset)
    assert [problem.file.stem for problem in problems] == ["BloodImage_00338", "BloodImage_00343"]
    refuse_fatal(problems)
    counts = [len(record.boxes) for split in ("train", "val", "test") for record in open_dataset(root, split).records]
    assert (len(counts), sum(counts)) == (364, 4888 - 2)
