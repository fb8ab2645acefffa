"""Learning rates over the steps."""

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from multibox.errors import UsageError
from multibox.training.feed.loader import EpochSampler
from multibox.training.loop.schedule import epoch_steps, make_schedule
from multibox.training.options import TrainOptions
from multibox.training.options_file import make_options
from multibox.training.resolve import resolve
from multibox.zoo import load_spec

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


def recipe(name: str, **changes: object) -> TrainOptions:
    """A recipe's options, of its own length where that is in epochs."""
    return make_options({"data": "photos", "recipe": name, **changes})


def rates(options: TrainOptions, steps_per_epoch: int) -> Callable[[int], float]:
    """Step -> learning rate."""
    factor = make_schedule(options, steps_per_epoch)
    assert options.lr0 is not None
    return lambda step: options.lr0 * factor(step)


def multistep(step: int, milestones: tuple[int, ...]) -> float:
    return 0.1 ** bisect_right(milestones, step)


def test_torchvision_warms_up_in_its_first_epoch_and_steps_by_epoch():
    rate = rates(recipe("torchvision_ssd"), 3665)
    for step in (0, 1, 500, 999, 1000, 80 * 3665 - 1, 80 * 3665, 110 * 3665, 120 * 3665 - 1):
        warmup = 0.001 + 0.999 * min(step, 1000) / 1000  # LinearLR of 1000 iterations
        assert rate(step) == pytest.approx(0.002 * warmup * multistep(step // 3665, (80, 110)), rel=1e-9)
    short = rates(recipe("torchvision_ssd"), 40)
    assert short(40) == pytest.approx(0.002)  # never longer than the first epoch


def test_torchvisions_cosine_goes_by_epoch_from_the_first_one():
    rate = rates(recipe("torchvision_ssdlite"), 611)
    for epoch in (1, 2, 17, 330, 659):
        expected = 0.15 * 0.5 * (1 + math.cos(math.pi * epoch / 660))  # CosineAnnealingLR of 660
        assert [rate(epoch * 611), rate(epoch * 611 + 610)] == pytest.approx([expected] * 2, rel=1e-9)


def test_mmdetections_cosine_goes_by_its_own_epochs_of_five():
    rate = rates(recipe("mmdet_ssdlite"), 616)
    for epoch in (1, 60, 119):
        expected = 0.015 * 0.5 * (1 + math.cos(math.pi * epoch / 120))
        assert [rate(epoch * 5 * 616), rate((epoch * 5 + 5) * 616 - 1)] == pytest.approx([expected] * 2, rel=1e-9)
    assert [rate(0), rate(250), rate(500)] == pytest.approx([0.015 * (0.001 + 0.999 * i / 500) for i in (0, 250, 500)])


def test_lufficcs_iterations_are_exact_where_the_data_make_whole_epochs():
    options = resolve(recipe("lufficc"), load_spec("ssd300_vgg16"), 32 * 500)
    rate = rates(options, 500)
    for step in (0, 250, 499, 500, 79_999, 80_000, 99_999, 100_000, 119_999):
        alpha = min(step, 500) / 500
        assert rate(step) == pytest.approx(0.001 * ((1 - alpha) / 3 + alpha) * multistep(step, (80_000, 100_000)))


def test_mobilenexts_cosine_runs_under_its_warm_up():
    rate = rates(resolve(recipe("mobilenext"), load_spec("ssdlite320_mobilenext"), 256 * 400), 400)
    for step in (0, 100, 499, 500, 100_000, 199_999):
        alpha = min(step, 500) / 500
        expected = 0.08 * ((1 - alpha) / 3 + alpha) * (1 + math.cos(math.pi * step / 200_000)) / 2
        assert rate(step) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "first", "last"), [("mindcv_mobilenet_v2", 0.001, 0.05 * 0.001), ("mindcv_resnet50_fpn", 0.01333, 0.0)]
)
def test_mindcvs_cosine_begins_after_two_epochs_of_warm_up(name, first, last):
    steps = 458
    rate, warmup, total = rates(recipe(name), steps), 2 * steps, 500 * steps
    for step in (0, 1, 700, warmup, 100_000, total - 1):
        expected = (
            first + (0.05 - first) * step / warmup
            if step < warmup
            else last + (0.05 - last) * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
        )
        assert rate(step) == pytest.approx(expected, rel=1e-3 if step < warmup else 1e-9)


def test_the_cosine_of_gluons_port_begins_after_500_steps():
    rate, total = rates(recipe("gluon_cosine"), 517), 240 * 517
    for step in (0, 250, 500, 60_000, total - 1):
        alpha = min(step, 500) / 500
        done = max(0, step - 500) / (total - 500)
        expected = 0.001 * ((1 - alpha) / 3 + alpha) * (1 + math.cos(math.pi * done)) / 2
        assert rate(step) == pytest.approx(expected, rel=1e-9)


def test_nvidias_warm_up_rises_from_nothing_over_300_steps():
    rate = rates(recipe("nvidia"), 3665)
    for step in (0, 1, 150, 299, 300, 43 * 3665 - 1, 43 * 3665, 54 * 3665):
        expected = 0.0026 * min(1.0, step / 300) * multistep(step // 3665, (43, 54))
        assert rate(step) == pytest.approx(expected, rel=1e-9)


def test_caffe_and_pytorch_ssd_begin_at_the_full_rate():
    paper = rates(resolve(recipe("paper_voc300"), load_spec("ssd300_vgg16"), 32 * 500), 500)
    assert [paper(step) for step in (0, 79_999, 80_000, 100_000)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])
    mobile = rates(recipe("qfgaohao"), 689)
    assert [mobile(0), mobile(689 * 50 + 5)] == pytest.approx([0.01, 0.005 * (1 + math.cos(math.pi / 4))])


def test_poly_falls_as_a_power_of_what_is_left():
    factor = make_schedule(replace(GIVEN, schedule="poly", poly_power=0.9, lr_final=0.1, warmup_epochs=0.0), 20)
    assert [factor(0), factor(50), factor(200)] == pytest.approx([1.0, 0.1 + 0.9 * 0.75**0.9, 0.1])


def test_milestones_are_shares_or_epochs_and_the_factor_is_any():
    given = replace(GIVEN, schedule="step", milestones=(0.5, 8.0), step_factor=0.5, warmup_epochs=0.0)
    assert [make_schedule(given, 20)(step) for step in (99, 100, 159, 160)] == [1, 0.5, 0.5, 0.25]
    with pytest.raises(
        UsageError, match="milestones holds 11; give shares of the training below 1, or epochs up to 10"
    ):
        replace(GIVEN, milestones=(11.0,))


@pytest.mark.parametrize(
    ("batch", "accumulate", "images"), [(4, 1, 18), (4, 2, 18), (4, 3, 18), (4, 9, 18), (20, 2, 18)]
)
def test_the_steps_of_an_epoch_are_those_of_the_loader(batch, accumulate, images):
    sampler = EpochSampler(images, 0, batch=batch, accumulate=accumulate)
    steps = epoch_steps(replace(GIVEN, batch=batch, accumulate=accumulate), images)
    assert steps == sampler.steps // sampler.accumulate


def test_a_constant_warm_up_stays_and_the_shorter_of_two_lengths_is_taken():
    given = replace(
        GIVEN, schedule="constant", warmup="constant", warmup_start=0.25, warmup_steps=30, warmup_epochs=1.0
    )
    assert [make_schedule(given, 20)(step) for step in (0, 19, 20)] == [0.25, 0.25, 1.0]
    longer = make_schedule(replace(given, warmup_epochs=None), 20)
    assert [longer(29), longer(30)] == [0.25, 1.0]
