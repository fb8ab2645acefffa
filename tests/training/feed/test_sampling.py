"""Rare classes are drawn more often, by the same order everywhere, and an epoch stays as long as it is."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from multibox.data.dataset import Record
from multibox.training.feed.loader import EpochSampler
from multibox.training.feed.sampling import draws_of


def record(*labels: int, crowd: tuple[int, ...] = ()) -> Record:
    every = np.array([*labels, *crowd], np.int64)
    is_crowd = np.arange(len(every)) >= len(labels)
    return Record(0, Path(), 9, 9, np.zeros((len(every), 4), np.float32), every, is_crowd, np.zeros_like(is_crowd))


RECORDS = [record(0)] * 80 + [record(0, 0, 1)] * 10 + [record(1)] * 6 + [record(2)] * 2 + [record()] * 2
"""Of 100 images, 90 show class 0, 16 class 1, 2 class 2; class 3 is never seen."""


def counts(draws, seed: int = 0, epoch: int = 0) -> list[int]:
    sampler = EpochSampler(len(draws), seed, batch=1, draws=draws)
    sampler.set_epoch(epoch)
    seen = Counter(index % len(draws) for _, index in sampler)
    return [seen[index] for index in range(len(draws))]


def test_without_balance_nothing_is_computed():
    assert draws_of(RECORDS, 4, "none", 0.001) is None


def test_repeat_factors_are_those_of_the_paper():
    draws = draws_of(RECORDS, 4, "repeat_factor", 0.32)
    factors = draws / draws[0]
    assert factors[[0, 85, 92, 97, 99]] == pytest.approx([1, 2**0.5, 2**0.5, 4, 1])
    assert draws.sum() == pytest.approx(100)


def test_balanced_classes_have_equal_shares_and_images_without_objects_keep_theirs():
    draws = draws_of(RECORDS, 4, "classes", 0.001)
    by_class = 98 / 3
    assert draws[[0, 85, 92, 97, 99]] == pytest.approx(
        [by_class / 90, by_class * (1 / 90 + 1 / 16), by_class / 16, by_class / 2, 1]
    )
    assert draws.sum() == pytest.approx(100)


def test_crowds_are_no_objects_to_balance():
    plain, crowded = [record(0), record(1), record()], [record(0), record(1), record(crowd=(1,))]
    for balance in ("classes", "repeat_factor"):
        assert (draws_of(plain, 2, balance, 0.9) == draws_of(crowded, 2, balance, 0.9)).all()


def test_data_without_any_object_are_drawn_evenly():
    assert draws_of([record()] * 3, 2, "classes", 0.1).tolist() == [1.0, 1.0, 1.0]
    assert draws_of([record()] * 3, 2, "repeat_factor", 0.1).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("balance", ["classes", "repeat_factor"])
def test_each_image_is_drawn_as_often_as_expected_in_an_epoch_of_the_same_length(balance):
    draws = draws_of(RECORDS, 4, balance, 0.32)
    drawn = np.array([counts(draws, epoch=epoch) for epoch in range(200)])
    assert (drawn.sum(axis=1) == 100).all()
    assert (np.abs(drawn - draws) < 1).all()
    assert drawn.mean(axis=0) == pytest.approx(draws, abs=0.15)
    assert len({tuple(each) for each in drawn}) > 150


def test_the_order_is_one_for_all_ranks_and_each_turn_of_an_image_is_another_key():
    draws = draws_of(RECORDS, 4, "classes", 0.001)
    alone = list(EpochSampler(100, 3, batch=4, draws=draws))
    ranks = [list(EpochSampler(100, 3, batch=2, rank=rank, world=2, draws=draws)) for rank in (0, 1)]
    assert alone == [key for step in range(25) for keys in ranks for key in keys[2 * step : 2 * step + 2]]
    assert len(set(alone)) == 100
    turns = Counter(index % 100 for _, index in alone)
    assert max(turns.values()) >= 15
    assert {index for _, index in alone} == {image + 100 * turn for image, n in turns.items() for turn in range(n)}
