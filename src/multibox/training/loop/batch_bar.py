"""A live bar of the epoch's steps on a terminal; nothing elsewhere, where one line per epoch is enough."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_SECONDS = 0.25


class BatchBar(Callback):  # type: ignore[misc]
    """Steps done and the loss of the running one."""

    def __init__(self) -> None:
        """The bar appears with the first epoch."""
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._shown = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One step further. The loss is read a few times a second only, as that waits for the device."""
        bar = self._bar or self._start(trainer)
        bar.update(self._task, completed=batch_idx + 1)
        now = time.monotonic()
        if now - self._shown > _SECONDS and "loss" in outputs:
            bar.update(self._task, loss=f"loss {float(outputs['loss']) * trainer.accumulate_grad_batches:.3f}")
            self._shown = now

    def _start(self, trainer: Trainer) -> Progress:
        """A new bar; it is gone when the epoch's line is written."""
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"))
        times = (TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Progress(
            *columns, *times, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()
        )
        self._task = self._bar.add_task("", total=trainer.num_training_batches, loss="")
        self._bar.start()
        return self._bar

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Takes the bar away."""
        self.teardown(trainer, module, "fit")

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Also when the training ends early."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None
