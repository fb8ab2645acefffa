"""Gives batch norms the statistics of real photos without changing what the network computes.

Networks imported from files in which batch norm was folded into the convolutions (TensorFlow Lite) have norms that are
identities: right for detecting, but a training step would normalise with the batch's statistics and wreck them.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Moments:
    """Running sums of what enters one norm, per channel in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def watch(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """The forward pre-hook: adds one batch."""
        rows = inputs[0].detach().transpose(0, 1).flatten(1).double()
        self.count += rows.shape[1]
        self.total = self.total + rows.sum(1)
        self.squares = self.squares + (rows * rows).sum(1)

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and unbiased variance, as batch norm keeps them."""
        mean = torch.as_tensor(self.total) / self.count
        variance = torch.as_tensor(self.squares) / self.count - mean * mean
        return mean, variance.clamp(min=0) * (self.count / max(1, self.count - 1))


def is_folded(model: nn.Module) -> bool:
    """Whether every batch norm of the model, of which there is at least one, still is the identity of an importer."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return bool(norms) and all(_is_identity(norm) for norm in norms)


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Float[Tensor, "n 3 h w"]]) -> None:
    """Sets every batch norm's mean and variance to those that it meets on `batches` (normalised images), and its scale
    and shift so that the network, while not training, gives the same output as before up to rounding.

    A few hundred photos are plenty. The mode of the model (training or not) is left as it was.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    moments = [_Moments() for _ in norms]
    hooks = [norm.register_forward_pre_hook(seen.watch) for norm, seen in zip(norms, moments, strict=True)]
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        for images in batches:
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    for norm, seen in zip(norms, moments, strict=True):
        if seen.count:
            _restate(norm, *seen.result())


def _restate(norm: _BatchNorm, mean: Float[Tensor, " c"], variance: Float[Tensor, " c"]) -> None:
    """The same line `y = a x + b` per channel, written with other statistics."""
    assert norm.running_mean is not None and norm.running_var is not None
    slope = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    intercept = norm.bias.double() - slope * norm.running_mean.double()
    norm.weight.copy_(slope * (variance + norm.eps).sqrt())
    norm.bias.copy_(intercept + slope * mean)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def _is_identity(norm: _BatchNorm) -> bool:
    """Mean 0 and, with its eps, variance 1."""
    if norm.running_mean is None or norm.running_var is None:
        return False
    return not bool(norm.running_mean.any()) and bool(((norm.running_var + norm.eps - 1).abs() < 1e-6).all())
