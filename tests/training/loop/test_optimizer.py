"""Which parameters learn."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from multibox.errors import UsageError
from multibox.training.loop.optimizer import freeze_parts, hold_norms, make_optimizer
from multibox.training.options import TrainOptions

GIVEN = TrainOptions(data="photos", model="ssd300_vgg16", lr0=0.1, weight_decay=0.5)


def make_network() -> nn.Module:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return nn.ModuleDict({"backbone": trunk, "head": nn.Sequential(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))})


def test_weight_decay_can_spare_norms_and_biases():
    decayed, spared = make_optimizer(make_network(), replace(GIVEN, decay_norms=False)).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.5, 0.0)
    assert all(parameter.ndim == 4 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in spared["params"])
    assert len(decayed["params"]) + len(spared["params"]) == len(list(make_network().parameters()))


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW),
        ("rmsprop", torch.optim.RMSprop),
    ],
)  # fmt: skip
def test_the_optimizer_is_the_one_asked_for_at_the_rate_asked_for(word, kind):
    optimizer = make_optimizer(make_network(), replace(GIVEN, optimizer=word))
    assert isinstance(optimizer, kind)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_biases_of_convolutions_learn_twice_as_fast_without_decay_and_norms_as_weights_do():
    weights, biases = make_optimizer(make_network(), replace(GIVEN, bias_rate=2.0, decay_biases=False)).param_groups
    assert (weights["lr"], weights["weight_decay"], biases["lr"], biases["weight_decay"]) == (0.1, 0.5, 0.2, 0.0)
    assert [len(group["params"]) for group in (weights, biases)] == [6, 2]
    assert [parameter.shape[0] for parameter in biases["params"]] == [4, 2]


def test_the_moments_of_each_optimizer_are_those_given():
    def defaults(**changes):
        return make_optimizer(make_network(), replace(GIVEN, momentum=0.8, **changes)).defaults

    assert defaults(nesterov=True)["nesterov"] is True
    assert (defaults(optimizer="rmsprop")["alpha"], defaults(optimizer="rmsprop")["momentum"]) == (0.99, 0.8)
    assert defaults(optimizer="rmsprop", square_decay=0.9)["alpha"] == 0.9
    assert defaults(optimizer="adam")["betas"] == (0.8, 0.999)
    assert defaults(optimizer="adamw", square_decay=0.95)["betas"] == (0.8, 0.95)


@pytest.mark.parametrize(
    "changes", [{"nesterov": True, "momentum": 0.0}, {"nesterov": True, "optimizer": "adam"}, {"square_decay": 0.9}]
)
def test_what_an_optimizer_would_ignore_is_refused(changes):
    with pytest.raises(UsageError, match=next(iter(changes))):
        replace(GIVEN, **changes)


def test_a_frozen_part_is_not_in_the_optimizer():
    network = make_network()
    freeze_parts(network, ["backbone"])
    learning = {id(p) for group in make_optimizer(network, GIVEN).param_groups for p in group["params"]}
    assert learning == {id(p) for p in network["head"].parameters()}


def test_a_part_that_is_not_there_is_named_with_the_nearest_one():
    with pytest.raises(UsageError, match=r"no part 'backbon'; did you mean 'backbone'"):
        freeze_parts(make_network(), ["backbon"])


def test_nothing_left_to_learn_is_refused():
    network = make_network()
    freeze_parts(network, ["backbone", "head"])
    with pytest.raises(UsageError, match="left to learn"):
        make_optimizer(network, GIVEN)


def test_norms_of_a_frozen_part_keep_their_statistics_and_others_do_not():
    network = make_network().train()
    freeze_parts(network, ["backbone"])
    hold_norms(network, all_norms=False)
    assert (network["backbone"][1].training, network["head"][1].training) == (False, True)
    hold_norms(network, all_norms=True)
    assert not network["head"][1].training
    assert not network["head"][1].weight.requires_grad
