"""Batch norms become part of the convolutions before them, for inference: fewer numbers to round, less to compute."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from multibox.network.model import SSD


@torch.no_grad()
def fold_norms(model: SSD) -> SSD:
    """Moves every batch norm that directly follows a convolution into it, in place, and leaves an identity behind.

    The network in evaluation computes the same up to rounding. Convolutions that are used several times (shared heads)
    keep their norms.
    """
    spec = model.spec.input
    pairs = _pairs(model.eval(), torch.zeros(1, 3, spec.height, spec.width, device=model.priors.device))
    for convolution, norm in pairs:
        assert norm.running_mean is not None and norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        convolution.weight, convolution.bias = weight, bias
        _make_identity(norm)
    return model


def _pairs(model: SSD, image: Tensor) -> list[tuple[nn.Conv2d, _BatchNorm]]:
    """Convolutions and the norms that read what they give, by watching an image go through."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # the tensors are kept, so that no number is given twice
    uses: Counter[nn.Module] = Counter()
    found: dict[_BatchNorm, nn.Conv2d] = {}

    def after_convolution(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        uses[module] += 1
        made[id(output)] = module, output

    def before_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, _BatchNorm)
        uses[module] += 1
        if id(inputs[0]) in made and module.track_running_stats:
            found[module] = made[id(inputs[0])][0]

    hooks = [part.register_forward_hook(after_convolution) for part in model.modules() if isinstance(part, nn.Conv2d)]
    hooks += [part.register_forward_pre_hook(before_norm) for part in model.modules() if isinstance(part, _BatchNorm)]
    model(image)
    for hook in hooks:
        hook.remove()
    return [(made_by, norm) for norm, made_by in found.items() if uses[made_by] == uses[norm] == 1]


def _make_identity(norm: _BatchNorm) -> None:
    """A norm that changes nothing (an activation that it holds stays)."""
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    if norm.affine:
        norm.weight.fill_(1)
        norm.bias.zero_()
