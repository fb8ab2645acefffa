"""Which parameters learn."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from multibox.errors import UsageError
from multibox.training.optimizer import freeze_parts, hold_norms, make_optimizer
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


@pytest.mark.parametrize(("word", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_optimizer_is_the_one_asked_for_at_the_rate_asked_for(word, kind):
    optimizer = make_optimizer(make_network(), replace(GIVEN, optimizer=word))
    assert isinstance(optimizer, kind)
    assert optimizer.param_groups[0]["lr"] == 0.1


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
