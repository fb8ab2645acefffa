"""Where a training goes on: the exact step, with everything that the next one depends on."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from multibox.sheet import from_json, to_json
from multibox.spec import ModelSpec
from multibox.training import group
from multibox.training.checkpoints import State, newest_checkpoint
from multibox.training.interruption import Interrupted, Interruption
from multibox.training.module import TrainingModule
from multibox.training.run_folder import LAST_CHECKPOINT

_KEY = "multibox"


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """What a checkpoint says of itself."""

    path: Path
    spec: ModelSpec
    epoch: int
    """The epoch to go on in, from 0."""
    images: int
    """How many images of it are learnt already."""
    rows: int
    """Epochs of which the row in the table is valid; the one just ended has its validation before it."""

    def batches(self, batch: int, accumulate: int) -> int:
        """Batches of this size that are behind it in the epoch, in whole steps of `accumulate` batches."""
        return self.images // (batch * accumulate) * accumulate


def find_resume_point(folder: Path) -> ResumePoint:
    """The newest readable checkpoint of a run. Raises `ModelError` where there is none."""
    return _point_of(*newest_checkpoint(folder / LAST_CHECKPOINT))


def _point_of(path: Path, state: State) -> ResumePoint:
    """What the checkpoint says of itself."""
    about = state[_KEY]
    spec = from_json(about["spec"], str(path))
    return ResumePoint(path=path, spec=spec, epoch=about["epoch"], images=about["images"], rows=about["rows"])


class CheckpointWriter(Callback):  # type: ignore[misc]
    """Writes `last.ckpt` at each epoch's end, every so many minutes in between, and when an end is asked for.

    The order of an epoch and its samples are drawn from (seed, epoch, index), so the number of learnt images is all
    that is to be known of the data. A step counts when the optimizer has stepped: what is accumulated towards the next
    one is learnt again.
    """

    def __init__(self, folder: Path, minutes: float, batch: int, interruption: Interruption) -> None:
        """`folder` is the run's; 0 `minutes`: at the ends of epochs only; `batch`: images of each batch."""
        self._path, self._seconds, self._batch = folder / LAST_CHECKPOINT, minutes * 60, batch
        self._interruption = interruption
        self._epoch = self._batches = self._rows = 0
        self._random: State | None = None
        self._written = 0.0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """The very last thing before the first step."""
        self._written = time.monotonic()
        if self._random is not None:
            _set_random_state(self._random)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Comes after all that changes with a step. Raises `Interrupted` where an end is asked for."""
        done, total = batch_idx + 1, trainer.num_training_batches
        if done % trainer.accumulate_grad_batches or done == total:
            return
        self._batches = done
        asked = group.agree(self._interruption.asked is not None)
        late = time.monotonic() - self._written > self._seconds
        if asked or (self._seconds > 0 and group.agree(late and group.is_main())):
            self.write(trainer)
        if asked:
            raise Interrupted(self._interruption.asked)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Comes before the validation, which is done again where it is cut off."""
        self._rows, self._epoch, self._batches = self._epoch, self._epoch + 1, 0
        self.write(trainer)
        self._rows = self._epoch

    def write(self, trainer: Trainer) -> None:
        """Writes the state after the last step. Raises `MultiboxError` for a full disk."""
        trainer.save_checkpoint(self._path)
        self._written = time.monotonic()

    def on_save_checkpoint(self, trainer: Trainer, module: TrainingModule, checkpoint: State) -> None:
        """Adds what Lightning does not know."""
        checkpoint[_KEY] = {
            "spec": to_json(module.network.spec),
            "epoch": self._epoch,
            "images": self._batches * self._batch,
            "rows": self._rows,
            "random": _random_state(),
        }

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: State) -> None:
        """Takes it back, and has Lightning's loop go on with the batch that comes next in batches of today's size."""
        point = _point_of(self._path, checkpoint)
        self._batches = point.batches(self._batch, trainer.accumulate_grad_batches)
        self._epoch = self._rows = point.epoch
        self._random = checkpoint[_KEY]["random"]
        if point.images:
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
            for count in (progress["current"], progress["total"]):
                count.update(dict.fromkeys(("ready", "started", "processed", "completed"), self._batches))


def _random_state() -> State:
    """The states of all generators that a step may draw from, in plain types."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
    }


def _set_random_state(state: State) -> None:
    """The reverse; GPUs keep theirs where their number has changed."""
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
