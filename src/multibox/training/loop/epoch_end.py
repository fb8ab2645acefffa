"""What follows an epoch: its validation, its line and row, its weights on disk."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng

from multibox.network.model import SSD
from multibox.training.kept.results_table import ResultsTable, Row
from multibox.training.loop.ema import Averaging
from multibox.training.loop.epoch_log import EpochLog
from multibox.training.loop.module import TrainingModule
from multibox.training.processes import group

log = logging.getLogger(__name__)

Metrics = dict[str, float]


class EpochEnd(Callback):  # type: ignore[misc]
    """Has each epoch validated, writes its line and row, and lets weights and pictures be written.

    A run that ended in between does it first when it goes on: the checkpoint holds the epoch's row.
    """

    def __init__(
        self,
        epoch_log: EpochLog,
        table: ResultsTable,
        epochs: int,
        validate: Callable[[SSD, int], Metrics | None],
        on_epoch: Callable[[SSD, Row], bool],
        averaging: Averaging | None,
    ) -> None:
        """`validate(network, epoch)` gives metrics or none; `on_epoch(network, row)` saves and says whether to stop."""
        self.table, self.epochs = table, epochs
        self._log, self._averaging = epoch_log, averaging
        self._validate, self._on_epoch = validate, on_epoch
        self._begun = 0.0
        self._done = 0

    def on_fit_start(self, trainer: Trainer, module: TrainingModule) -> None:
        """Starts the clock of the whole training, and ends the epoch that a checkpoint left to be ended."""
        self._begun = time.perf_counter()
        if self._log.row is not None:
            self._finish(trainer, module, self._log.row)
            self._log.row = None

    def on_train_epoch_end(self, trainer: Trainer, module: TrainingModule) -> None:
        """Comes after `EpochLog` and the checkpoint. Raises `Interrupted` where the validation is cut off."""
        assert self._log.row is not None
        self._done += 1
        self._finish(trainer, module, self._log.row)
        self._log.row = None

    def network(self, module: TrainingModule) -> SSD:
        """The averaged network where there is an average, else the learning one."""
        averaged = self._averaging.averaged if self._averaging else None
        chosen: SSD = module.network if averaged is None else averaged.network
        return chosen

    def _finish(self, trainer: Trainer, module: LightningModule, row: Row) -> None:
        """The validation, by all ranks; then what rank 0 writes, and its word on whether to stop.

        Nothing of it changes what the next epoch draws: a resume does it again.
        """
        started, network = time.perf_counter(), self.network(module)
        with isolate_rng():
            metrics = self._validate(network, int(row["epoch"]))
            row = row | {f"val/{name}": value for name, value in (metrics or {}).items()}
            row["seconds"] = row.pop("seconds") + time.perf_counter() - started
            stop = self._keep(trainer, network, row) if group.is_main() else False
        trainer.should_stop = trainer.should_stop or group.from_main(stop)

    def _keep(self, trainer: Trainer, network: SSD, row: Row) -> bool:
        """Table, loggers, line, weights, written by rank 0 alone; whether to stop."""
        self.table.add(row)
        numbers = {name: value for name, value in row.items() if name not in ("epoch", "step")}
        for logger in trainer.loggers:
            logger.log_metrics(numbers, int(row["epoch"]))
        log.info("%s", self._line(row))
        return self._on_epoch(network, row)

    def _line(self, row: Row) -> str:
        """`epoch 3/60  loss 4.10 (cls 2.90 box 1.20)  AP 0.21 AP50 0.44  lr 0.049  20 img/s  1.2 GiB  left 12:30`."""
        parts = [f"epoch {int(row['epoch'])}/{self.epochs}"]
        losses = f"cls {row['train/loss_cls']:.3f} box {row['train/loss_box']:.3f}"
        if "train/loss_teacher" in row:
            losses += f" teacher {row['train/loss_teacher']:.3f}"
        parts.append(f"loss {row['train/loss']:.3f} ({losses})")
        if "val/AP" in row:
            parts.append(f"AP {row['val/AP']:.4f} AP50 {row['val/AP50']:.4f}")
        parts += [f"lr {row['lr/group0']:.3g}", f"{row['img_per_s']:.1f} img/s"]
        if memory := _memory():
            parts.append(f"{memory:.1f} GiB")
        if self._done:
            left = (time.perf_counter() - self._begun) / self._done * (self.epochs - row["epoch"])
            parts.append(f"left {int(left // 60)}:{int(left % 60):02d}")
        return "  ".join(parts)


def _memory() -> float:
    """The most that was used so far, in GiB: of the GPU where there is one, else of this process (0: not known)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    if sys.platform == "win32":
        return 0.0
    from resource import RUSAGE_SELF, getrusage

    return getrusage(RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
