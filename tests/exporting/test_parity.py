"""Two runtimes are compared by partners: same label, same place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multibox.exporting.parity import Parity, compare_image, worst
from multibox.prediction.engines.base import RawDetections

SIZE = (100, 200)
FOUND = RawDetections(
    np.array([[0, 0, 0.5, 0.5], [0.2, 0.2, 0.4, 0.9], [0, 0, 0.5, 0.5]], np.float32),
    np.array([0.9, 0.8, 0.7], np.float32),
    np.array([0, 1, 1]),
)
NONE = RawDetections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def test_a_runtime_agrees_with_itself_exactly():
    parity = compare_image(FOUND, FOUND, SIZE)
    assert (parity.detections, parity.different, parity.scores, parity.boxes) == (3, 0, 0, 0)
    assert parity.agrees


def test_the_order_of_detections_does_not_matter():
    turned = RawDetections(*(part[::-1].copy() for part in FOUND))
    assert compare_image(FOUND, turned, SIZE).different == 0


def test_differences_are_pixels_of_the_input_and_scores():
    moved = FOUND._replace(boxes=FOUND.boxes + np.float32([0.001, 0, 0, 0]), scores=FOUND.scores - np.float32(0.005))
    parity = compare_image(FOUND, moved, SIZE)
    np.testing.assert_allclose([parity.boxes, parity.scores], [0.2, 0.005], rtol=1e-3)
    assert not parity.agrees


def test_what_one_side_lacks_and_other_labels_count_as_different():
    less = RawDetections(*(part[:2] for part in FOUND))
    assert compare_image(FOUND, less, SIZE).different == compare_image(less, FOUND, SIZE).different == 1
    assert compare_image(FOUND, FOUND._replace(labels=np.array([0, 1, 2])), SIZE).different == 1
    assert compare_image(FOUND, NONE, SIZE).different == compare_image(NONE, FOUND, SIZE).different == 3
    assert compare_image(NONE, NONE, SIZE).agrees


def test_bounds_are_part_of_the_comparison():
    parity = Parity(engines="a and b", images=1, detections=9, different=0, scores=2e-4, boxes=0.06)
    assert not parity.agrees
    wider = replace(parity, score_bound=3e-4, box_bound=0.1)
    assert wider.agrees
    assert "scores within 2.0e-04 (bound 3e-04), boxes within 6.0e-02 px (bound 0.1)" in str(wider)


def test_one_hundredth_may_differ_and_nan_never_agrees():
    parity = Parity(engines="a and b", images=4, detections=1000, different=10, scores=0.0, boxes=0.0)
    assert parity.agrees
    assert not replace(parity, different=11).agrees
    assert not replace(parity, scores=float("nan")).agrees
    together = worst("a and b", [parity, replace(parity, boxes=float("nan")), replace(parity, scores=1e-5)])
    assert (together.images, together.different, together.scores) == (12, 30, 1e-5)
    assert not together.agrees
