"""Averaged weights: what is evaluated and shipped instead of the last, noisy ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from multibox.training.loop.module import TrainingModule


class Averaging(WeightAveraging):  # type: ignore[misc]
    """Exponential moving average of the parameters after every step; buffers are those of the learning network.

    The decay rises as (1 + t) / (10 + t) up to `decay`: at any time the average reaches back about a ninth of the
    training so far, so short and long trainings are served by one setting. The statistics of batch norms are averages
    already; averaged once more they lag behind the weights, which costs a short training most of its AP.
    """

    def __init__(self, decay: float) -> None:
        """`decay` from 0 to below 1."""
        super().__init__(use_buffers=False, multi_avg_fn=_make_rule(decay))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: TrainingModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step that was left out is none."""
        if pl_module.guard.skipped:
            self._latest_update_step = trainer.global_step
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    @property
    def averaged(self) -> LightningModule | None:
        """The averaged copy of the training module; none before the training."""
        return None if self._average_model is None else self._average_model.module


def decay_at(step: int, decay: float) -> float:
    """The decay of the update after `step` updates."""
    return min(decay, (1 + step) / (10 + step))


def _make_rule(decay: float) -> Callable[[Any, Any, Any], None]:
    """The in-place update of many tensors."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        torch._foreach_lerp_(averaged, current, 1 - decay_at(int(count), decay))

    return update
