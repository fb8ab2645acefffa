"""The averaged weights."""

import torch

from multibox.training.ema import _make_rule, decay_at


def test_the_decay_rises_to_its_value_and_stays_below_it():
    decays = [decay_at(step, 0.99) for step in range(2000)]
    assert decays == sorted(decays)
    assert decays[0] == 0.1
    assert decays[-1] == 0.99


def test_an_update_is_the_weighted_mean_and_counters_are_copied():
    update = _make_rule(0.9)
    averaged, current = [torch.tensor([1.0, 2.0])], [torch.tensor([3.0, 0.0])]
    update(averaged, current, torch.tensor(10_000))
    torch.testing.assert_close(averaged[0], torch.tensor([1.2, 1.8]))
    counts = [torch.tensor(3)]
    update(counts, [torch.tensor(8)], torch.tensor(1))
    assert counts[0] == 8


def test_the_average_of_a_constant_is_the_constant():
    update = _make_rule(0.9998)
    averaged = [torch.full((5,), 0.3)]
    for step in range(100):
        update(averaged, [torch.full((5,), 0.3)], torch.tensor(step))
    torch.testing.assert_close(averaged[0], torch.full((5,), 0.3))
