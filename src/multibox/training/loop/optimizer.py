"""Which parameters learn, and by which rule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from multibox.errors import UsageError, did_you_mean
from multibox.training.options import TrainOptions


def make_optimizer(network: nn.Module, options: TrainOptions) -> Optimizer:
    """The optimizer of all parameters that learn, by resolved options.

    Fused ones step over all parameters in one kernel; with float16's scaled loss they would take gradients that the
    guard of steps has not seen at their true scale.
    """
    assert options.lr0 is not None and options.weight_decay is not None
    groups, rate, momentum = _groups(network, options), options.lr0, options.momentum
    fused = options.amp != "fp16"
    if options.optimizer == "sgd":
        return SGD(groups, lr=rate, momentum=momentum, nesterov=options.nesterov, fused=fused)
    if options.optimizer == "rmsprop":
        return RMSprop(groups, lr=rate, momentum=momentum, alpha=_or(options.square_decay, 0.99))
    kind = Adam if options.optimizer == "adam" else AdamW
    return kind(groups, lr=rate, betas=(momentum, _or(options.square_decay, 0.999)), fused=fused)


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


class _Rule(NamedTuple):
    """How a parameter learns: its weight decay, and its rate as a multiple of the others'."""

    decay: float
    rate: float


def _groups(network: nn.Module, options: TrainOptions) -> list[dict[str, object]]:
    """Parameters by rule, those that are treated as convolutions' weights first; shared ones once."""
    biases = {
        id(module.bias)
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None
    }
    assert options.lr0 is not None and options.weight_decay is not None
    plain = _Rule(options.weight_decay, 1.0)
    groups: dict[_Rule, list[nn.Parameter]] = {plain: []}
    for parameter in network.parameters():
        if parameter.requires_grad:
            bias = id(parameter) in biases
            spared = parameter.ndim <= 1 and not (options.decay_norms and (options.decay_biases or not bias))
            rule = _Rule(0.0 if spared else options.weight_decay, options.bias_rate if bias else 1.0)
            groups.setdefault(rule, []).append(parameter)
    if not any(groups.values()):
        raise UsageError("freeze: no part of the network is left to learn")
    return [
        {"params": members, "weight_decay": rule.decay, "lr": options.lr0 * rule.rate}
        for rule, members in groups.items()
        if members
    ]


def _or(given: float | None, usual: float) -> float:
    """The given value, or the usual one."""
    return usual if given is None else given
