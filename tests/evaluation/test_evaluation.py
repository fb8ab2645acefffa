"""A detector is measured on a dataset: the detector of the tests finds bright colours exactly."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bright import BrightEngine, save
from multibox.data.dataset import Dataset, Record
from multibox.errors import DataError, MultiboxError
from multibox.evaluation.evaluate import evaluate
from multibox.prediction.detector import Detector

NAMES = ("green", "RED", "violet")


def record(path: Path, image_id: int, boxes, labels, size=(640, 480), crowd=None) -> Record:
    n = len(labels)
    return Record(
        image_id=image_id,
        path=path,
        width=size[0],
        height=size[1],
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        crowd=np.array(crowd if crowd is not None else [False] * n, np.bool_),
        difficult=np.zeros(n, np.bool_),
    )


@pytest.fixture
def detector() -> Detector:
    return Detector(BrightEngine())


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """Three photos: a red and a blue area, a green one, nothing; ids in another order than the photos."""
    first = save(tmp_path / "a.png", red=(64, 48, 320, 240, 250), blue=(400, 300, 500, 400, 200))
    second = save(tmp_path / "b.png", green=(128, 96, 384, 288, 220))
    third = save(tmp_path / "c.png")
    records = (
        record(first, 70, [[64, 48, 320, 240]], [1]),
        record(second, 30, [[128, 96, 384, 288]], [0]),
        record(third, 50, [], []),
    )
    return Dataset(NAMES, (5, 7, 9), records, tmp_path, "coco", "val")


def test_a_detector_that_is_right_scores_one_on_every_metric(detector, dataset):
    report = evaluate(detector, dataset)
    assert (report.images, report.objects, report.engine, report.problems) == (3, 2, "bright", ())
    measured = {name: value for name, value in report.metrics.items() if value >= 0}
    assert set(measured) == {"AP", "AP50", "AP75", "APl", "AR1", "AR10", "AR100", "ARl", "voc07_mAP", "voc_mAP"}
    assert list(measured.values()) == pytest.approx([1.0] * len(measured))


def test_classes_are_matched_by_name_and_those_of_one_side_only_are_told(detector, dataset):
    report = evaluate(detector, dataset)
    assert report.missing == ("violet",)
    assert report.dropped == ("blue",)
    assert {row.name: (row.objects, row.detections) for row in report.per_class} == {
        "green": (1, 1),
        "RED": (1, 1),
        "violet": (0, 0),
    }


def test_objects_of_a_class_that_the_detector_lacks_count_as_missed(detector, dataset):
    third = dataset.records[2]
    violet = record(third.path, 50, [[10, 10, 200, 200]], [2])
    report = evaluate(detector, replace(dataset, records=(*dataset.records[:2], violet)))
    assert report.metrics["AP50"] == pytest.approx(2 / 3)


def test_no_class_in_common_is_refused_before_anything_runs(dataset):
    engine = BrightEngine()
    with pytest.raises(DataError, match="no class in common"):
        evaluate(Detector(engine), replace(dataset, names=("one", "two", "three")))
    assert engine.batches == []


def test_the_batch_size_changes_nothing(detector, dataset):
    one, all_at_once = (evaluate(detector, dataset, batch=batch) for batch in (1, 8))
    assert one.metrics == all_at_once.metrics
    assert one.predictions() == all_at_once.predictions()


def test_a_photo_that_cannot_be_read_is_named_and_its_objects_are_missed(detector, dataset, tmp_path):
    broken = tmp_path / "a.png"
    broken.write_bytes(broken.read_bytes()[:100])
    report = evaluate(detector, dataset)
    assert len(report.problems) == 1
    assert "a.png" in report.problems[0]
    assert report.metrics["AP50"] == pytest.approx(0.5)


def test_a_photo_of_another_size_than_its_annotation_says_is_named(detector, dataset):
    first, *others = dataset.records
    report = evaluate(detector, replace(dataset, records=(replace(first, width=320), *others)))
    assert report.problems == (f"{first.path} is 640 x 480 pixels, its annotation says 320 x 480",)


def test_progress_counts_every_image(detector, dataset):
    calls: list[tuple[int, int]] = []
    evaluate(detector, dataset, batch=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_what_is_saved_are_coco_results_with_the_datasets_own_ids(detector, dataset, tmp_path):
    report = evaluate(detector, dataset)
    report.save(tmp_path / "out" / "deep")
    predictions = json.loads((tmp_path / "out" / "deep" / "predictions.json").read_text())
    assert [(row["image_id"], row["category_id"]) for row in predictions] == [(30, 5), (70, 7)]
    assert predictions[1]["bbox"] == pytest.approx([64, 48, 256, 192], abs=1e-3)
    saved = json.loads((tmp_path / "out" / "deep" / "metrics.json").read_text())
    assert saved == json.loads(report.to_json())
    lines = (tmp_path / "out" / "deep" / "precision_recall.csv").read_text().splitlines()
    assert (lines[0], len(lines)) == ("recall,green,RED", 102)


def test_a_folder_that_cannot_be_written_is_one_sentence(detector, dataset, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MultiboxError, match="cannot be written"):
        evaluate(detector, dataset).save(tmp_path / "file" / "folder")
