"""What an epoch was like: its losses and its speed, summed up as it goes, and kept through a resume."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from multibox.training.kept.results_table import Row
from multibox.training.loop.module import TrainingModule
from multibox.training.processes import group


class EpochLog(Callback):  # type: ignore[misc]
    """Sums up the steps of an epoch; at its end `row` is what the training itself says of it."""

    def __init__(self) -> None:
        """There is no row before the first epoch's end."""
        self.row: Row | None = None
        self._sums = torch.zeros(3)
        self._window = torch.zeros(3)
        """Sums over images since the last step of the optimizer: it may never come to the next one."""
        self._images = self._pending = 0
        self._seconds = 0.0
        self._started = 0.0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Goes on in the middle of an epoch, where no epoch starts."""
        self._sums, self._window = self._sums.to(module.device), self._window.to(module.device)
        self._started = time.perf_counter() - self._seconds

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Starts the epoch's clock and sums."""
        self.row = None
        self._sums.zero_()
        self._window.zero_()
        self._images = self._pending = 0
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, module: TrainingModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds up losses without waiting for the device."""
        assert module.losses is not None
        self._window += torch.stack([part.float() for part in module.losses]) * len(batch.images)
        done = batch_idx + 1
        self._pending += len(batch.images)
        if done % trainer.accumulate_grad_batches == 0:
            if not module.guard.skipped:
                self._sums += self._window
                self._images += self._pending * group.world()
            self._window.zero_()
            self._pending = 0

    def on_train_epoch_end(self, trainer: Trainer, module: TrainingModule) -> None:
        """The row, to which a validation may add."""
        cls, box, teacher = (group.mean(self._sums) / max(1, self._images / group.world())).tolist()
        seconds = time.perf_counter() - self._started
        row: Row = {"epoch": float(trainer.current_epoch + 1), "step": float(trainer.global_step)}
        row |= {"train/loss": cls + box + teacher, "train/loss_cls": cls, "train/loss_box": box}
        row |= {"train/loss_teacher": teacher} if module.teacher else {}
        row |= {"lr/group0": trainer.optimizers[0].param_groups[0]["lr"], "img_per_s": self._images / seconds}
        self.row = row | {"seconds": seconds}

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint, which rank 0 writes for all."""
        seconds = time.perf_counter() - self._started
        return {"row": self.row, "sums": group.gather(self._sums.cpu()), "images": self._images, "seconds": seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        sums = state_dict["sums"]
        self._sums = sums[group.rank()] if len(sums) == group.world() else torch.stack(sums).mean(dim=0)
        self.row = state_dict["row"]
        self._images, self._seconds = state_dict["images"], state_dict["seconds"]
