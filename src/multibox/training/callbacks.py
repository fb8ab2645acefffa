"""What happens around the steps: an epoch's line, its row, its weights on disk, and a clean end when interrupted."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from multibox.network.model import SSD
from multibox.training.ema import Averaging
from multibox.training.module import TrainingModule
from multibox.training.results_table import ResultsTable, Row
from multibox.training.run_folder import LAST_CHECKPOINT

log = logging.getLogger(__name__)

Metrics = dict[str, float]


class Interrupted(Exception):
    """The user or the system asked the training to end."""


class Interruption(Callback):  # type: ignore[misc]
    """SIGINT and SIGTERM end the training after the running step, with nothing half-written."""

    def __init__(self) -> None:
        """Nothing is asked for yet."""
        self._asked: str | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Signals are noted while the context lasts, where this thread may listen."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Raises `Interrupted` where a signal came."""
        if self._asked is not None:
            raise Interrupted(self._asked)

    def _note(self, number: int, frame: FrameType | None) -> None:
        """The first signal is noted; a second one acts at once."""
        if self._asked is not None:
            raise KeyboardInterrupt
        self._asked = signal.Signals(number).name
        log.info("ending after this step; once more to end at once")


class EpochLog(Callback):  # type: ignore[misc]
    """Measures each epoch, has it validated, writes its line and row, and lets weights and pictures be written."""

    def __init__(
        self,
        table: ResultsTable,
        epochs: int,
        validate: Callable[[SSD, int], Metrics | None],
        on_epoch: Callable[[SSD, Row], bool],
        averaging: Averaging | None,
    ) -> None:
        """`validate(network, epoch)` gives metrics or none; `on_epoch(network, row)` saves and says whether to stop."""
        self.table, self.epochs = table, epochs
        self._validate, self._on_epoch, self._averaging = validate, on_epoch, averaging
        self._sums = torch.zeros(3, dtype=torch.float64)
        self._steps = self._images = 0
        self._started = self._begun = 0.0
        self._first_epoch = 0

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Starts the clock of the whole training."""
        self._begun, self._first_epoch = time.perf_counter(), trainer.current_epoch

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Starts the epoch's clock and sums."""
        self._sums = torch.zeros(3, device=module.device)
        self._steps = self._images = 0
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, module: TrainingModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds up losses without waiting for the device."""
        assert module.losses is not None
        self._sums += torch.stack([part.float() for part in module.losses])
        self._steps += 1
        self._images += len(batch.images)

    def on_train_epoch_end(self, trainer: Trainer, module: TrainingModule) -> None:
        """One line, one row."""
        cls, box, teacher = (self._sums / max(1, self._steps)).tolist()
        seconds = time.perf_counter() - self._started
        epoch = trainer.current_epoch + 1
        row: Row = {"epoch": float(epoch), "step": float(trainer.global_step), "train/loss": cls + box + teacher}
        row |= {"train/loss_cls": cls, "train/loss_box": box}
        row |= {"train/loss_teacher": teacher} if module.teacher else {}
        row |= {"lr/group0": trainer.optimizers[0].param_groups[0]["lr"], "img_per_s": self._images / seconds}
        network = self.network(module)
        metrics = self._validate(network, epoch)
        row |= {f"val/{name}": value for name, value in (metrics or {}).items()}
        row["seconds"] = time.perf_counter() - self._started
        self.table.add(row)
        for logger in trainer.loggers:
            logger.log_metrics({name: value for name, value in row.items() if name not in ("epoch", "step")}, epoch)
        log.info("%s", self._line(row, trainer))
        trainer.should_stop = trainer.should_stop or self._on_epoch(network, row)

    def network(self, module: TrainingModule) -> SSD:
        """The averaged network where there is an average, else the learning one."""
        averaged = self._averaging.averaged if self._averaging else None
        chosen: SSD = module.network if averaged is None else averaged.network
        return chosen

    def _line(self, row: Row, trainer: Trainer) -> str:
        """`epoch 3/60  loss 4.10 (cls 2.90 box 1.20)  AP 0.21 AP50 0.44  lr 0.049  20 img/s  left 12:30`."""
        done = trainer.current_epoch + 1 - self._first_epoch
        left = (time.perf_counter() - self._begun) / max(1, done) * (self.epochs - row["epoch"])
        parts = [f"epoch {int(row['epoch'])}/{self.epochs}"]
        losses = f"cls {row['train/loss_cls']:.3f} box {row['train/loss_box']:.3f}"
        if "train/loss_teacher" in row:
            losses += f" teacher {row['train/loss_teacher']:.3f}"
        parts.append(f"loss {row['train/loss']:.3f} ({losses})")
        if "val/AP" in row:
            parts.append(f"AP {row['val/AP']:.4f} AP50 {row['val/AP50']:.4f}")
        parts.append(f"lr {row['lr/group0']:.3g}")
        parts.append(f"{row['img_per_s']:.1f} img/s")
        if memory := torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0:
            parts.append(f"{memory / 2**30:.1f} GiB")
        parts.append(f"left {int(left // 60)}:{int(left % 60):02d}")
        return "  ".join(parts)


class ResumePoint(Callback):  # type: ignore[misc]
    """Writes `last.ckpt` after every epoch; the former one stays until the new one is whole."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the run's."""
        self._path = folder / LAST_CHECKPOINT

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Comes after `EpochLog` and `Averaging` in the list of callbacks."""
        draft = self._path.with_suffix(".part")
        trainer.save_checkpoint(draft)
        draft.replace(self._path)
