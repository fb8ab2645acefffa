"""A live bar of the epoch's steps on a terminal; nothing elsewhere, where one line per epoch is enough."""

from __future__ import annotations

import sys
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


class BatchBar(Callback):  # type: ignore[misc]
    """Steps done and the loss of the running one."""

    def __init__(self) -> None:
        """The bar appears with the first epoch."""
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """A new bar; it is gone when the epoch's line is written."""
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"))
        times = (TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Progress(
            *columns, *times, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()
        )
        self._task = self._bar.add_task("", total=trainer.num_training_batches, loss="")
        self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One step further."""
        if self._bar is not None:
            self._bar.update(self._task, advance=1, loss=f"loss {float(outputs['loss']):.3f}")

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Takes the bar away."""
        self.teardown(trainer, module, "fit")

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Also when the training ends early."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None
