"""Norms get real statistics while the network computes what it did before."""

from __future__ import annotations

import copy

import torch
from torch import nn

from multibox.network.recalibrate import is_folded, recalibrate

_EPS = 1e-3


def _folded() -> nn.Sequential:
    """Two convolutions whose norms are identities plus a bias, as an importer leaves them."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, _EPS), nn.ReLU6(), nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4, _EPS)]
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.constant_(layer.running_var, 1 - _EPS)  # type: ignore[arg-type]
            nn.init.normal_(layer.bias)
    return nn.Sequential(*layers)


def test_the_output_stays_and_training_mode_then_agrees_with_it() -> None:
    model = _folded().train()
    images = torch.randn(32, 3, 12, 12) * 3 + 1
    before = copy.deepcopy(model).eval()(images)
    assert (copy.deepcopy(model)(images) - before).abs().max() > 0.5
    recalibrate(model, images.split(8))
    assert model.training
    assert torch.allclose(copy.deepcopy(model).eval()(images), before, atol=1e-4)
    assert torch.allclose(model(images), before, atol=1e-2)


def test_only_norms_as_an_importer_leaves_them_count_as_folded() -> None:
    model = _folded()
    assert is_folded(model)
    recalibrate(model, [torch.randn(4, 3, 8, 8)])
    assert not is_folded(model)
    assert not is_folded(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    assert not is_folded(nn.Conv2d(3, 4, 1))


def test_without_a_single_photo_nothing_changes() -> None:
    model = _folded()
    before = copy.deepcopy(model.state_dict())
    recalibrate(model, [])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
