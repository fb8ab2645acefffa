"""VOC's metrics: laws on small cases, then numbers that others computed on the same files."""

import re
from pathlib import Path

import numpy as np
import pytest

from multibox.evaluation.columns import Found, Truths
from multibox.evaluation.voc import voc_scores


def truths(boxes, images=None, labels=None, difficult=None, crowd=None) -> Truths:
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    n = len(boxes)
    return Truths(
        images=np.array(images if images is not None else [0] * n, np.int64),
        labels=np.array(labels if labels is not None else [0] * n, np.int64),
        boxes=boxes,
        areas=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1),
        crowd=np.array(crowd if crowd is not None else [False] * n, np.bool_),
        difficult=np.array(difficult if difficult is not None else [False] * n, np.bool_),
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


BOX, OTHER, FAR = [10, 10, 50, 50], [60, 60, 90, 95], [200, 200, 240, 240]


def test_finding_every_object_scores_one():
    scores = voc_scores(truths([BOX, OTHER]), found([BOX, OTHER], [0.9, 0.8]), 1)
    assert scores.metrics == {"voc07_mAP": 1.0, "voc_mAP": 1.0}


def test_finding_nothing_scores_zero():
    assert voc_scores(truths([BOX]), found([], []), 1).metrics == {"voc07_mAP": 0.0, "voc_mAP": 0.0}


def test_a_class_without_objects_is_unmeasured_and_left_out_of_the_mean():
    scores = voc_scores(truths([BOX]), found([BOX, FAR], [0.9, 0.8], labels=[0, 1]), 2)
    assert scores.ap.tolist() == [1.0, -1.0]
    assert scores.metrics["voc_mAP"] == 1.0


def test_a_dataset_without_objects_is_unmeasured():
    assert voc_scores(truths([]), found([BOX], [0.9]), 1).metrics == {"voc07_mAP": -1.0, "voc_mAP": -1.0}


def test_half_of_the_objects_found_is_half_the_area_and_six_of_eleven_recalls():
    scores = voc_scores(truths([BOX, OTHER]), found([BOX], [0.9]), 1)
    assert scores.ap[0] == pytest.approx(0.5)
    assert scores.ap07[0] == pytest.approx(6 / 11)


def test_the_second_detection_of_an_object_is_wrong_even_where_another_object_is_free():
    near = [12, 10, 52, 50]  # overlaps BOX most, and also the object beside it enough
    beside = [22, 10, 62, 50]
    scores = voc_scores(truths([BOX, beside]), found([BOX, near], [0.9, 0.8]), 1)
    assert scores.ap[0] == pytest.approx(0.5)


def test_the_surest_claim_wins_whatever_the_order():
    worse = [10, 10, 50, 45]
    first = voc_scores(truths([BOX, FAR]), found([worse, BOX, FAR], [0.9, 0.8, 0.7]), 1)
    second = voc_scores(truths([BOX, FAR]), found([FAR, BOX, worse], [0.7, 0.8, 0.9]), 1)
    assert first.ap[0] == second.ap[0] == pytest.approx(0.5 + 0.5 * 2 / 3)


@pytest.mark.parametrize("kind", ["difficult", "crowd"])
def test_detections_of_difficult_objects_neither_help_nor_harm(kind):
    truth = truths([BOX, OTHER], **{kind: [False, True]})
    with_it = voc_scores(truth, found([OTHER, OTHER, BOX], [0.95, 0.9, 0.8]), 1)
    assert with_it.metrics == {"voc07_mAP": 1.0, "voc_mAP": 1.0}


def test_objects_of_other_images_and_classes_are_not_found():
    scores = voc_scores(truths([BOX], images=[1]), found([BOX, BOX], [0.9, 0.8], images=[0, 1], labels=[0, 1]), 2)
    assert scores.ap[0] == 0.0


def test_overlap_at_the_threshold_is_right_and_inclusive_pixels_are_one_wider():
    truth, half = truths([[0, 0, 9, 9]]), found([[0, 0, 9, 4]], [0.9])  # 10 x 10 and 10 x 5 pixels in VOC's counting
    assert voc_scores(truth, half, 1, inclusive=True).ap[0] == 1.0
    assert voc_scores(truth, half, 1, inclusive=False).ap[0] == 0.0


def test_equal_to_the_rule_written_as_loops_on_random_sets():
    rng = np.random.default_rng(0)
    for _ in range(50):
        corner = rng.integers(0, 30, (40, 2))
        boxes = np.concatenate([corner, corner + rng.integers(1, 25, (40, 2))], axis=1).astype(float)
        images, labels = rng.integers(0, 3, 40), rng.integers(0, 2, 40)
        truth = truths(boxes[:15], images[:15], labels[:15], difficult=rng.random(15) < 0.2)
        detected = found(boxes[15:], np.round(rng.random(25), 1), images[15:], labels[15:])
        expected = [naive_area(truth, detected, label) for label in range(2)]
        np.testing.assert_allclose(voc_scores(truth, detected, 2).ap, expected)


def naive_area(truth: Truths, detected: Found, label: int) -> float:
    taken, marks = set(), []
    wanted = int((~truth.difficult & (truth.labels == label)).sum())
    if not wanted:
        return -1.0
    for index in np.argsort(-detected.scores, kind="stable"):
        if detected.labels[index] != label:
            continue
        best, best_index = 0.0, -1
        for other in np.flatnonzero((truth.images == detected.images[index]) & (truth.labels == label)):
            a, b = detected.boxes[index], truth.boxes[other]
            w = min(a[2], b[2]) - max(a[0], b[0]) + 1
            h = min(a[3], b[3]) - max(a[1], b[1]) + 1
            common = max(w, 0) * max(h, 0)
            areas = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
            if common / (sum(areas) - common) > best:
                best, best_index = common / (sum(areas) - common), other
        if best >= 0.5 and truth.difficult[best_index]:
            continue
        marks.append(best >= 0.5 and best_index not in taken)
        taken |= {best_index} if marks[-1] else set()
    precision = [sum(marks[: k + 1]) / (k + 1) for k in range(len(marks))]
    return sum(max(precision[k:]) / wanted for k in range(len(marks)) if marks[k])


def read_samples(truth_folder: Path, found_folder: Path, sides: bool) -> tuple[Truths, Found, list[str]]:
    """The text files of one sample: `name [score] x y` and then the other corner, or width and height."""
    rows: dict[bool, list] = {True: [], False: []}
    for is_found, folder in ((False, truth_folder), (True, found_folder)):
        for image, file in enumerate(sorted(folder.glob("*.txt"))):
            for words in map(str.split, file.read_text().splitlines()):
                if words:
                    rows[is_found].append(
                        (image, words[0], [float(w) for w in words[1 + is_found : 5 + is_found]], words)
                    )
    names = sorted({row[1] for row in rows[False]})
    for group in rows.values():
        group[:] = [row for row in group if row[1] in names]
        for _, _, box, _ in group:
            if sides:
                box[2:] = [box[0] + box[2], box[1] + box[3]]
    columns = {
        key: ([row[2] for row in group], [row[0] for row in group], [names.index(row[1]) for row in group])
        for key, group in rows.items()
    }
    boxes, images, labels = columns[True]
    detected = found(boxes, [float(row[3][1]) for row in rows[True]], images, labels)
    return truths(*columns[False]), detected, names


def test_the_samples_of_object_detection_metrics_give_its_numbers(shared_data):
    folder = shared_data / "metrics" / "voc_samples" / "samples" / "sample_2"
    truth, detected, names = read_samples(folder / "groundtruths", folder / "detections", sides=True)
    scores = voc_scores(truth, detected, len(names), iou=0.3)
    assert (len(truth.labels), len(detected.labels)) == (15, 24)
    assert scores.metrics["voc_mAP"] == pytest.approx(0.2456, abs=1e-4)  # published as a sum of rounded parts
    assert scores.metrics["voc07_mAP"] == pytest.approx(0.2684, abs=5e-5)


def test_the_sample_of_map_gives_its_numbers_for_every_class(shared_data):
    folder = shared_data / "metrics" / "map_sample"
    truth, detected, names = read_samples(
        folder / "input" / "ground-truth", folder / "input" / "detection-results", sides=False
    )
    scores = voc_scores(truth, detected, len(names))
    text = (folder / "expected_output.txt").read_text()
    expected = {name: float(percent) / 100 for percent, name in re.findall(r"([\d.]+)% = (\w+) AP", text)}
    assert set(expected) == set(names)
    assert dict(zip(names, scores.ap, strict=True)) == pytest.approx(expected, abs=5.1e-5)
    assert scores.metrics["voc_mAP"] == pytest.approx(0.3105, abs=5e-5)
