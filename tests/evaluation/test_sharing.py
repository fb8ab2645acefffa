"""Shares of several processes add up to the report of one, bit by bit."""

from dataclasses import replace

import numpy as np
import pytest

from bright import BrightEngine, save
from multibox.data.dataset import Dataset, Record
from multibox.evaluation.evaluate import evaluate
from multibox.evaluation.sharing import find_share, score_shares
from multibox.prediction.detector import Detector


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Seven photos of a red area, their truth beside it by more and more; one photo is no photo."""
    folder = tmp_path_factory.mktemp("photos")
    records = []
    for number in range(7):
        path = save(folder / f"{number}.png", red=(64, 48, 320, 240, 150 + 10 * number))
        if number == 3:
            path.write_bytes(b"no photo")
        boxes = np.array([[64 + 12 * number, 48, 320, 240]], np.float32)
        none = np.zeros(1, np.bool_)
        records.append(Record(100 - number, path, 640, 480, boxes, np.array([0]), none, none))
    return Dataset(("red",), (1,), tuple(records), folder, "coco", "val")


@pytest.mark.parametrize(("world", "batch"), [(1, 2), (2, 2), (2, 3), (3, 1), (3, 8), (9, 1)])
def test_the_report_is_that_of_one_process(dataset, world, batch):
    detector = Detector(BrightEngine())
    shares = [find_share(detector, dataset, rank=rank, world=world, batch=batch) for rank in range(world)]
    assert sorted(place for share in shares for place in share.places) == list(range(7))
    report, alone = score_shares(detector, dataset, shares[::-1]), evaluate(detector, dataset, batch=batch)
    assert report.metrics == alone.metrics and 0 < report.metrics["AP"] < 1
    assert report.per_class == alone.per_class
    assert report.problems == alone.problems and len(report.problems) == 1
    assert report.predictions() == alone.predictions()
    assert replace(report, seconds=0.0).as_dict() == replace(alone, seconds=0.0).as_dict()
    assert (report.precision == alone.precision).all()


def test_ranks_take_the_very_batches_of_one_process(dataset):
    detector = Detector(BrightEngine())
    places = [find_share(detector, dataset, rank=rank, world=2, batch=2).places for rank in (0, 1)]
    assert places == [[0, 1, 4, 5], [2, 3, 6]]
