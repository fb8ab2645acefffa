"""What is written can be read back by others, and is complete or absent."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from multibox.errors import MultiboxError, UsageError
from multibox.results.files import AtomicFile, run_folder
from multibox.results.prediction import NOTHING, Frame, Objects, Prediction
from multibox.results.save import Saver
from multibox.results.write import FORMATS, open_writer

NAMES, IDS = ("person", "cup & <saucer>", "кошка"), (1, 47, 90)


def predicted(name: str, boxes: list[list[float]], labels: list[int], **more) -> Prediction:
    found = Objects(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.5, len(labels), dtype=np.float32),
        labels=np.array(labels, np.int64),
        names=np.array(NAMES)[np.array(labels, np.int64)],
    )
    return Prediction(path=Path(f"photos/{name}.jpg"), name=name, objects=found, width=200, height=100, **more)


PREDICTIONS = [
    predicted("000000000139", [[10, 20, 60, 70.5], [-5, 90, 250, 99.2]], [0, 2]),
    predicted("empty", [], []),
    Prediction(path=Path("broken.jpg"), name="broken", objects=NOTHING, error="broken.jpg is broken"),
    predicted("cat", [[199.7, 99.8, 199.9, 99.9]], [1]),
]


def write(format: str, path: Path, predictions: list[Prediction] = PREDICTIONS) -> None:
    writer = open_writer(format, path, NAMES, IDS)
    for prediction in predictions:
        writer.add(prediction)
    writer.close()


def test_json_lists_pictures_with_their_detections(tmp_path: Path) -> None:
    write("json", tmp_path / "p.json")
    pictures = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    assert [picture["path"] for picture in pictures] == [
        str(Path(f"photos/{n}.jpg")) for n in ("000000000139", "empty", "cat")
    ]
    assert pictures[0]["detections"][0] == {
        "name": "person",
        "class_id": 0,
        "score": 0.9,
        "box": {"x1": 10.0, "y1": 20.0, "x2": 60.0, "y2": 70.5},
    }
    assert pictures[1] == {"path": str(Path("photos/empty.jpg")), "width": 200, "height": 100, "detections": []}


def test_coco_results_have_the_datasets_ids_and_are_read_by_a_coco_tool(tmp_path: Path) -> None:
    write("coco", tmp_path / "c.json")
    results = json.loads((tmp_path / "c.json").read_text())
    assert [(r["image_id"], r["category_id"]) for r in results] == [(139, 1), (139, 90), (2, 47)]
    assert results[0]["bbox"] == [10.0, 20.0, 50.0, 50.5]
    from hotcoco import COCO

    coco = COCO(str(tmp_path / "c_images.json"))
    assert coco.get_img_ids() == [1, 2, 139]
    assert len(coco.load_res(str(tmp_path / "c.json")).get_ann_ids()) == 3


def test_coco_image_ids_are_never_given_twice(tmp_path: Path) -> None:
    frame = Frame(number=0, video="v", fps=25.0)
    names = ["a", "1", "b", "2", "2", "³"]
    write(
        "coco",
        tmp_path / "c.json",
        [*(predicted(n, [[0, 0, 9, 9]], [0]) for n in names), predicted("7", [], [], frame=frame)],
    )
    ids = [image["id"] for image in json.loads((tmp_path / "c_images.json").read_text(encoding="utf-8"))["images"]]
    assert len(set(ids)) == len(ids) == 7


def test_without_ids_coco_categories_count_from_one(tmp_path: Path) -> None:
    writer = open_writer("coco", tmp_path / "c.json", NAMES)
    writer.add(PREDICTIONS[0])
    writer.close()
    assert [r["category_id"] for r in json.loads((tmp_path / "c.json").read_text())] == [1, 3]


def test_voc_boxes_are_whole_pixels_inside_the_picture_and_never_empty(tmp_path: Path) -> None:
    write("voc", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000139.xml", "cat.xml", "empty.xml"]
    boxes = []
    for stem in ("000000000139", "cat"):
        root = ElementTree.parse(tmp_path / f"{stem}.xml").getroot()
        assert root.findtext("filename") == f"{stem}.jpg" and root.findtext("size/width") == "200"
        for found in root.iter("object"):
            boxes.append([int(side.text) for side in found.find("bndbox")])
    assert boxes == [[10, 20, 60, 70], [0, 90, 200, 99], [199, 99, 200, 100]]
    assert ElementTree.parse(tmp_path / "cat.xml").findtext("object/name") == "cup & <saucer>"


def test_yolo_lines_are_fractions_of_the_picture(tmp_path: Path) -> None:
    write("yolo", tmp_path)
    assert (tmp_path / "classes.txt").read_text(encoding="utf-8").split("\n")[:3] == list(NAMES)
    assert (tmp_path / "labels" / "empty.txt").read_text() == ""
    first, second = (tmp_path / "labels" / "000000000139.txt").read_text().splitlines()
    assert first == "0 0.175000 0.452500 0.250000 0.505000 0.900000"
    assert [float(word) for word in second.split()] == [2, 0.5, 0.946, 1.0, 0.092, 0.5]


def test_csv_has_a_line_per_detection(tmp_path: Path) -> None:
    write("csv", tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["name"] for line in lines] == ["person", "кошка", "cup & <saucer>"]
    assert (float(lines[0]["x2"]), float(lines[0]["score"]), lines[0]["frame"]) == (60.0, 0.9, "")


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_found_anywhere_is_a_valid_file(tmp_path: Path, format: str) -> None:
    write(format, tmp_path / "out", [])
    write(format, tmp_path / "out2", [PREDICTIONS[1]])
    if format in ("json", "coco"):
        json.loads((tmp_path / "out").read_text())


@pytest.mark.parametrize("format", FORMATS)
def test_discarding_leaves_no_unfinished_file_and_keeps_an_older_one(tmp_path: Path, format: str) -> None:
    if format in ("json", "coco", "csv"):
        (tmp_path / "out").write_text("older")
    writer = open_writer(format, tmp_path / "out", NAMES, IDS)
    writer.add(PREDICTIONS[0])
    writer.discard()
    assert not [path for path in tmp_path.rglob("*") if ".part" in path.name]
    if format in ("json", "coco", "csv"):
        assert (tmp_path / "out").read_text() == "older"


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(UsageError, match="'jsn'; did you mean 'json'"):
        open_writer("jsn", Path("x"), NAMES)


@pytest.mark.parametrize("format", FORMATS)
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, format: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MultiboxError, match=r"file.* cannot be written"):
        open_writer(format, tmp_path / "file" / "out", NAMES, IDS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    file = AtomicFile(tmp_path / "out.json")
    file._file.close()
    file._file = Path("/dev/full").open("w")  # noqa: SIM115
    with pytest.raises(MultiboxError, match=r"out\.json: cannot be written \(No space left"):
        file.write("x" * 100_000)
        file.keep()
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_is_never_overwritten(tmp_path: Path) -> None:
    assert [run_folder(tmp_path / "runs", "a").name for _ in range(3)] == ["a", "a2", "a3"]
    assert run_folder(tmp_path / "runs", "a", exist_ok=True).name == "a"
    (tmp_path / "file").write_text("")
    with pytest.raises(MultiboxError, match="cannot be written"):
        run_folder(tmp_path / "file", "a")


def test_a_run_saves_pictures_under_their_names_and_one_video_per_video(tmp_path: Path) -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    frames = [
        predicted(f"{v}_{n}", [[10, 20, 60, 70]], [0], image=image, frame=Frame(number=n, video=v, fps=10.0))
        for v in ("one", "sub/two")
        for n in range(3)
    ]
    pictures = [predicted("sub/a", [[10, 20, 60, 70]], [0], image=image), PREDICTIONS[2]]
    with Saver(tmp_path, NAMES, IDS, formats=FORMATS, pictures=True) as saver:
        for prediction in [*frames, *pictures]:
            saver.add(prediction)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"one.mp4", "sub/two.mp4", "sub/a.jpg", "predictions.json", "coco_results.json", "predictions.csv"} <= files
    assert {"voc/sub/two_2.xml", "yolo/labels/sub/a.txt"} <= files
    assert not [name for name in files if ".part" in name]


def test_a_run_that_fails_leaves_no_unfinished_file(tmp_path: Path) -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    prediction = predicted("v_0", [], [], image=image, frame=Frame(number=0, video="v", fps=10.0))
    with pytest.raises(KeyboardInterrupt), Saver(tmp_path, NAMES, IDS, formats=["json"], pictures=True) as saver:
        saver.add(prediction)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
