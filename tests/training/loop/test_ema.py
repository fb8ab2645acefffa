"""The averaged weights."""

from dataclasses import replace

import torch

from multibox.training.loop.ema import _make_rule, decay_at
from multibox.training.train import train


def test_the_decay_rises_to_its_value_and_stays_below_it():
    decays = [decay_at(step, 0.99) for step in range(2000)]
    assert decays == sorted(decays)
    assert decays[0] == 0.1
    assert decays[-1] == 0.99


def test_an_update_is_the_weighted_mean():
    update = _make_rule(0.9)
    averaged, current = [torch.tensor([1.0, 2.0])], [torch.tensor([3.0, 0.0])]
    update(averaged, current, torch.tensor(10_000))
    torch.testing.assert_close(averaged[0], torch.tensor([1.2, 1.8]))


def test_the_average_of_a_constant_is_the_constant():
    update = _make_rule(0.9998)
    averaged = [torch.full((5,), 0.3)]
    for step in range(100):
        update(averaged, [torch.full((5,), 0.3)], torch.tensor(step))
    torch.testing.assert_close(averaged[0], torch.full((5,), 0.3))


def test_parameters_are_averaged_and_statistics_are_those_of_the_learning_network(options):
    result = train(replace(options, epochs=1, val_split="none"))
    state = torch.load(result.folder / "weights/last.ckpt", weights_only=True)
    averaged, learning = state["state_dict"], state["current_model_state"]
    equal = {name: torch.equal(averaged[name], learning[name]) for name in averaged}
    statistics = {name for name in averaged if name.rpartition(".")[2] in ("running_mean", "running_var")}
    assert statistics and all(equal[name] for name in statistics)
    assert not any(equal[name] for name in averaged if name.endswith("conv.weight"))
    assert not equal["network.head.classes.0.1.weight"]
