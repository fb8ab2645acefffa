"""How the learning rate goes: a warm-up, then a cosine, steps, or a constant."""

from __future__ import annotations

import math
from collections.abc import Callable

from multibox.training.options import TrainOptions

_WARMUP_START = 0.001
_STEP_FACTOR = 0.1


def make_schedule(options: TrainOptions, steps_per_epoch: int) -> Callable[[int], float]:
    """Step (from 0) -> the share of the highest rate. The warm-up is linear and takes at most half of the training."""
    total = options.epochs * steps_per_epoch
    warmup = min(round(options.warmup_epochs * steps_per_epoch), total // 2)

    def factor(step: int) -> float:
        if step < warmup:
            return _WARMUP_START + (1 - _WARMUP_START) * step / warmup
        if options.schedule == "cosine":
            done = min(1.0, (step - warmup) / max(1, total - warmup))
            return options.lr_final + (1 - options.lr_final) * 0.5 * (1 + math.cos(math.pi * done))
        if options.schedule == "step":
            return _STEP_FACTOR ** sum(step >= milestone * total for milestone in options.milestones)
        return 1.0

    return factor
