"""How the learning rate goes: under a warm-up, a cosine, steps, a power of what is left (poly), or a constant."""

from __future__ import annotations

import math
from collections.abc import Callable

from multibox.training.feed.loader import EpochSampler
from multibox.training.options import TrainOptions
from multibox.training.processes.launched import find_processes


def make_schedule(options: TrainOptions, steps_per_epoch: int) -> Callable[[int], float]:
    """Step (from 0) -> the share of the highest rate.

    Warm-up and decay multiply each other. The warm-up rises in a line from `warmup_start` to 1, which the first step
    behind it has, or stays at its start; it takes at most half of the training.
    """
    warmup = warmup_length(options, steps_per_epoch)
    decay = _decay(options, steps_per_epoch, warmup if options.decay_from == "warmup" else 0)

    def factor(step: int) -> float:
        if step >= warmup:
            return decay(step)
        start = options.warmup_start
        return decay(step) * (start if options.warmup == "constant" else start + (1 - start) * step / warmup)

    return factor


def epoch_steps(options: TrainOptions, images: int) -> int:
    """Steps of the optimizer over so many images. Raises `UsageError` for fewer images than processes."""
    world = find_processes().world
    sampler = EpochSampler(images, 0, batch=options.batch, world=world, accumulate=options.accumulate)
    return sampler.optimizer_steps


def warmup_length(options: TrainOptions, steps_per_epoch: int) -> int:
    """Steps of the warm-up: as many as are given, epochs and steps, whichever ends first."""
    lengths = [] if options.warmup_steps is None else [options.warmup_steps]
    if options.warmup_epochs is not None or not lengths:
        epochs = 1.0 if options.warmup_epochs is None else options.warmup_epochs
        lengths.append(round(epochs * steps_per_epoch))
    return min(*lengths, options.epochs * steps_per_epoch // 2)


def milestone_steps(options: TrainOptions, steps_per_epoch: int) -> list[int]:
    """The steps from which the step schedule multiplies the rate once more."""
    total = options.epochs * steps_per_epoch
    return [round(m * total if m < 1 else m * steps_per_epoch) for m in options.milestones]


def _decay(options: TrainOptions, steps_per_epoch: int, begin: int) -> Callable[[int], float]:
    """Step -> the share without a warm-up; cosine and poly begin at the step `begin`."""
    total = options.epochs * steps_per_epoch
    held = options.rate_every * steps_per_epoch
    milestones = milestone_steps(options, steps_per_epoch)

    def factor(step: int) -> float:
        if held:
            step -= step % held
        if options.schedule == "step":
            return options.step_factor ** sum(step >= milestone for milestone in milestones)
        if options.schedule == "constant":
            return 1.0
        done = min(1.0, max(0, step - begin) / max(1, total - begin))
        left = (
            0.5 * (1 + math.cos(math.pi * done)) if options.schedule == "cosine" else (1 - done) ** options.poly_power
        )
        return options.lr_final + (1 - options.lr_final) * left

    return factor
