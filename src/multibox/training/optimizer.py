"""Which parameters learn, and by which rule."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from multibox.errors import UsageError, did_you_mean
from multibox.training.options import TrainOptions


def make_optimizer(network: nn.Module, options: TrainOptions) -> Optimizer:
    """The optimizer of all parameters that learn, by resolved options."""
    assert options.lr0 is not None and options.weight_decay is not None
    groups, rate = _groups(network, options.weight_decay, options.decay_norms), options.lr0
    if options.optimizer == "adamw":
        return AdamW(groups, lr=rate, betas=(options.momentum, 0.999))
    return SGD(groups, lr=rate, momentum=options.momentum)


def freeze_parts(network: nn.Module, parts: Iterable[str]) -> None:
    """Stops the named parts (`backbone`, `head`, ...) from learning. Raises `UsageError` for a part there is not."""
    known = dict(network.named_modules())
    for part in parts:
        if part not in known or not part:
            raise UsageError(f"freeze: the network has no part '{part}'{did_you_mean(part, known)}")
        known[part].requires_grad_(False)


def hold_norms(network: nn.Module, all_norms: bool) -> None:
    """Puts batch norms that do not learn into evaluation, so that their statistics stay; all of them if `all_norms`."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if all_norms:
                module.requires_grad_(False)
            if module.weight is not None and not module.weight.requires_grad:
                module.eval()


def _groups(network: nn.Module, decay: float, decay_norms: bool) -> list[dict[str, object]]:
    """Parameters with weight decay, and those without."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not learning:
        raise UsageError("freeze: no part of the network is left to learn")
    spared: list[torch.Tensor] = [] if decay_norms else [parameter for parameter in learning if parameter.ndim <= 1]
    apart = {id(parameter) for parameter in spared}
    decayed = [parameter for parameter in learning if id(parameter) not in apart]
    groups: list[dict[str, object]] = [{"params": decayed, "weight_decay": decay}]
    return [*groups, {"params": spared, "weight_decay": 0.0}] if spared else groups
