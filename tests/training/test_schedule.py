"""Learning rates over the steps."""

from dataclasses import replace
from itertools import pairwise

import pytest

from multibox.training.options import TrainOptions
from multibox.training.schedule import make_schedule

GIVEN = TrainOptions(data="photos", model="ssd300_vgg16", epochs=10)


def test_the_warm_up_rises_in_a_line_to_the_full_rate():
    factor = make_schedule(GIVEN, 20)
    rates = [factor(step) for step in range(21)]
    assert rates[0] == pytest.approx(0.001)
    assert rates[20] == 1.0
    steps = [after - before for before, after in pairwise(rates)]
    assert steps == pytest.approx([steps[0]] * 20)


def test_the_cosine_falls_to_its_last_share_and_stays():
    factor = make_schedule(replace(GIVEN, lr_final=0.1), 20)
    rates = [factor(step) for step in range(20, 201)]
    assert rates == sorted(rates, reverse=True)
    assert rates[90] == pytest.approx(0.55)
    assert rates[-1] == factor(500) == pytest.approx(0.1)


def test_steps_multiply_by_a_tenth_at_their_shares_of_the_training():
    factor = make_schedule(replace(GIVEN, schedule="step", milestones=(0.5, 0.8)), 20)
    assert [factor(step) for step in (99, 100, 159, 160)] == pytest.approx([1, 0.1, 0.1, 0.01])


def test_a_constant_rate_is_constant_and_no_warm_up_is_none():
    factor = make_schedule(replace(GIVEN, schedule="constant", warmup_epochs=0.0), 20)
    assert {factor(step) for step in range(200)} == {1.0}


def test_the_warm_up_of_a_single_epoch_leaves_half_of_it():
    factor = make_schedule(replace(GIVEN, epochs=1), 20)
    assert factor(10) == 1.0
    assert factor(20) == pytest.approx(0.0)
