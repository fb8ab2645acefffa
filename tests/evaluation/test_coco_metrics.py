"""COCO's numbers: laws on small cases, then pycocotools' numbers on the same files."""

import json

import numpy as np
import pytest

from multibox.evaluation.coco import METRICS, coco_scores
from multibox.evaluation.columns import Found, Truths

BOX, SMALL = [100.0, 100.0, 300.0, 300.0], [10.0, 10.0, 30.0, 30.0]
SIZES = [(640, 480), (640, 480)]


def truths(boxes, images=None, labels=None, crowd=None, areas=None) -> Truths:
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    n = len(boxes)
    return Truths(
        images=np.array(images if images is not None else [0] * n, np.int64),
        labels=np.array(labels if labels is not None else [0] * n, np.int64),
        boxes=boxes,
        areas=np.array(areas, np.float64) if areas is not None else np.prod(boxes[:, 2:] - boxes[:, :2], axis=1),
        crowd=np.array(crowd if crowd is not None else [False] * n, np.bool_),
        difficult=np.zeros(n, np.bool_),
    )


def found(boxes, scores, images=None, labels=None) -> Found:
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    n = len(boxes)
    return Found(
        images=np.array(images if images is not None else [0] * n, np.int64),
        labels=np.array(labels if labels is not None else [0] * n, np.int64),
        boxes=boxes,
        scores=np.array(scores, np.float64),
    )


def test_finding_every_object_scores_one_and_sizes_without_objects_are_unmeasured():
    metrics = coco_scores(truths([BOX]), found([BOX], [0.9]), SIZES, 1).metrics
    assert tuple(metrics) == METRICS
    assert [name for name in METRICS if metrics[name] == -1.0] == ["APs", "APm", "ARs", "ARm"]
    assert all(metrics[name] == pytest.approx(1.0) for name in METRICS if metrics[name] != -1.0)


def test_finding_nothing_scores_zero():
    scores = coco_scores(truths([BOX]), found([], []), SIZES, 1)
    assert scores.metrics["AP"] == scores.metrics["AR100"] == 0.0


def test_a_dataset_without_objects_is_unmeasured():
    scores = coco_scores(truths([]), found([BOX], [0.9]), SIZES, 2)
    assert set(scores.metrics.values()) == {-1.0}
    assert scores.ap50.tolist() == [-1.0, -1.0]


def test_ap_of_a_class_is_its_own_and_the_mean_leaves_out_classes_without_objects():
    scores = coco_scores(truths([BOX, BOX], labels=[0, 2]), found([BOX, SMALL], [0.9, 0.8], labels=[0, 2]), SIZES, 3)
    np.testing.assert_allclose(scores.ap50, [1.0, -1.0, 0.0])
    assert scores.metrics["AP50"] == pytest.approx(0.5)


def test_a_detection_inside_a_crowd_is_passed_over():
    inside = [400.0, 100.0, 420.0, 140.0]
    crowd = truths([BOX, [380.0, 80.0, 620.0, 400.0]], crowd=[False, True])
    scores = coco_scores(crowd, found([inside, BOX], [0.95, 0.9]), SIZES, 1)
    assert scores.metrics["AP"] == pytest.approx(1.0)


def test_sizes_go_by_the_stated_area():
    metrics = coco_scores(truths([BOX], areas=[500.0]), found([BOX], [0.9]), SIZES, 1).metrics
    assert metrics["APs"] == pytest.approx(1.0)
    assert metrics["APl"] == -1.0


def test_precision_over_recall_falls_where_the_misses_begin():
    both = truths([BOX, BOX], images=[0, 1])
    curve = coco_scores(both, found([BOX], [0.9]), SIZES, 1).precision
    assert curve.shape == (1, 101)
    np.testing.assert_allclose(curve[0, :51], 1.0)
    assert not curve[0, 51:].any()


def test_the_sample_of_cocoapi_gives_the_numbers_of_pycocotools(shared_data):
    folder = shared_data / "metrics" / "cocoapi_fakebbox"
    content = json.loads((folder / "gt" / "instances_val2014_100.json").read_text())
    results = json.loads((folder / "results" / "instances_val2014_fakebbox100_results.json").read_text())
    expected = json.loads((folder / "expected_bbox_stats_pycocotools.json").read_text())
    images = sorted(content["images"], key=lambda image: image["id"])  # the order that decides between equal scores
    image_of = {image["id"]: place for place, image in enumerate(images)}
    label_of = {category["id"]: place for place, category in enumerate(content["categories"])}

    def columns(rows):
        boxes = np.array([row["bbox"] for row in rows])
        boxes[:, 2:] += boxes[:, :2]
        return boxes, [image_of[row["image_id"]] for row in rows], [label_of[row["category_id"]] for row in rows]

    annotations = content["annotations"]
    truth = truths(
        *columns(annotations),
        crowd=[bool(row["iscrowd"]) for row in annotations],
        areas=[row["area"] for row in annotations],
    )
    boxes, places, labels = columns(results)
    detected = found(boxes, [row["score"] for row in results], places, labels)
    sizes = [(image["width"], image["height"]) for image in images]
    metrics = coco_scores(truth, detected, sizes, len(label_of)).metrics
    np.testing.assert_allclose([metrics[name] for name in METRICS], expected, atol=1e-9)
