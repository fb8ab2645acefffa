"""Depthwise convolutions under the CPU's autocast: the same results, better gradients, nothing else changed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from multibox.training.loop.depthwise import speed_up_depthwise


def network() -> nn.Sequential:
    """Depthwise convolutions of the kinds there are, with pointwise ones between."""
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 5, 2, 2, groups=8, bias=False), nn.Conv2d(8, 6, 1)]
    return nn.Sequential(*parts, nn.Conv2d(6, 6, 3, 1, 2, dilation=2, groups=6))


def learn(model: nn.Module, x: Tensor, enabled: bool = True) -> tuple[Tensor, list[Tensor]]:
    """(result, gradients of input and parameters)."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
        y = model(x)
    y.float().square().mean().backward()
    grads = [each.grad for each in (x, *model.parameters()) if each.grad is not None]
    model.zero_grad()
    return y.detach(), grads


def distance(found: list[Tensor], exact: list[Tensor]) -> float:
    """Largest difference relative to each tensor's largest value."""
    pairs = zip(found, exact, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def test_results_are_autocasts_and_gradients_as_near_to_float32():
    plain, x = network(), torch.randn(2, 3, 17, 12)
    fast = copy.deepcopy(plain)
    speed_up_depthwise(fast)
    _, exact = learn(plain, x, enabled=False)
    expected, rounded = learn(plain, x)
    result, found = learn(fast, x)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result, expected, rtol=2**-7, atol=1e-3)
    assert distance(found, exact) < 1.2 * distance(rounded, exact) < 0.1


@pytest.mark.parametrize("training", [True, False])
def test_without_autocast_nothing_changes(training):
    plain, x = network().train(training), torch.randn(2, 3, 9, 9)
    fast = copy.deepcopy(plain)
    speed_up_depthwise(fast)
    expected, wanted = learn(plain, x, enabled=False)
    result, found = learn(fast, x, enabled=False)
    assert torch.equal(result, expected)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_a_copy_uses_its_own_weights_and_names_stay():
    model = network()
    names = list(model.state_dict())
    speed_up_depthwise(model)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied[3].weight.zero_()
        copied[3].bias.zero_()
    x = torch.randn(1, 3, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert copied(x).abs().max() == 0 < model(x).abs().max()
    assert list(copied.state_dict()) == names


def test_frozen_ones_pass_gradients_on():
    model = network()
    speed_up_depthwise(model)
    model[1].weight.requires_grad_(False)
    _, grads = learn(model, torch.randn(2, 3, 9, 9))
    assert len(grads) == 7 and all(torch.isfinite(each).all() for each in grads)
