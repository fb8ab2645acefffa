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
from multibox.training.kept.checkpoints import State, newest_checkpoint
from multibox.training.kept.run_folder import LAST_CHECKPOINT
from multibox.training.loop.failures import is_out_of_memory
from multibox.training.loop.interruption import Interrupted, Interruption
from multibox.training.loop.module import TrainingModule
from multibox.training.loop.step_guard import Diverged
from multibox.training.options import TrainOptions
from multibox.training.processes import group

_KEY = "multibox"


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """What a checkpoint says of itself."""

    path: Path
    spec: ModelSpec
    epoch: int
    """The epoch to go on in, from 0."""
    images: int
    """How many images of it are learnt already, by all processes."""
    rows: int
    """Epochs of which the row in the table is valid; the one just ended has its validation before it."""

    def batches(self, batch: int, accumulate: int) -> int:
        """Batches of this size that each process has behind it in the epoch, in whole steps of `accumulate` of them."""
        return self.images // (batch * accumulate * group.world()) * accumulate


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

    def __init__(self, folder: Path, options: TrainOptions, batch: int, interruption: Interruption) -> None:
        """`folder` is the run's; `batch`: images of each batch."""
        self._path, self._options, self._batch = folder / LAST_CHECKPOINT, options, batch
        self._interruption = interruption
        self._epoch = self._batches = self._rows = 0
        self._random: State | None = None
        self._written = 0.0
        self._proven = True
        """Whether a step after the last checkpoint, if this attempt has written any, shows that it is sound."""
        self._running = False

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """The very last thing before the first step."""
        self._interruption.listen()
        self._written, self._running = time.monotonic(), True
        if self._random is not None:
            _set_random_state(self._random)

    def on_train_batch_end(
        self, trainer: Trainer, module: TrainingModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Comes after all that changes with a step. Raises `Interrupted` where an end is asked for."""
        done, total = batch_idx + 1, trainer.num_training_batches
        if done % trainer.accumulate_grad_batches or done == total:
            return
        self._batches = done
        bad = module.guard.in_a_row > 0
        self._proven = self._proven or not bad
        asked = self._interruption.asked is not None
        period = 60 * self._options.save_minutes
        due = 0 < period < time.monotonic() - self._written and not bad
        if group.agree(asked or due):
            self._write(trainer)
            if group.agree(asked):
                raise Interrupted(self._interruption.asked)

    def on_train_epoch_end(self, trainer: Trainer, module: TrainingModule) -> None:
        """Comes before the validation, which is done again where it is cut off."""
        self._rows, self._epoch, self._batches = self._epoch, self._epoch + 1, 0
        if not module.guard.in_a_row:
            self._write(trainer)
        self._rows = self._epoch

    def on_exception(self, trainer: Trainer, module: TrainingModule, exception: BaseException) -> None:
        """Leaves the checkpoint from which a recovery goes on."""
        if isinstance(exception, Diverged) and not self._proven and group.is_main():
            self._path.unlink(missing_ok=True)
        if is_out_of_memory(exception) and self._options.auto_batch and self._running and group.world() == 1:
            module.zero_grad()
            module.guard.undo()
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        """Writes the state after the last step. Raises `MultiboxError` for a full disk."""
        trainer.save_checkpoint(self._path)
        self._written, self._proven = time.monotonic(), False

    def on_save_checkpoint(self, trainer: Trainer, module: TrainingModule, checkpoint: State) -> None:
        """Adds what Lightning does not know."""
        checkpoint[_KEY] = {
            "spec": to_json(module.network.spec),
            "lr0": self._options.lr0,
            "epoch": self._epoch,
            "images": self._batches * self._batch * group.world(),
            "rows": self._rows,
            "random": group.gather(_random_state()),
        }

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: State) -> None:
        """Takes it back, and has Lightning's loop go on with the batch that comes next in batches of today's size."""
        point = _point_of(self._path, checkpoint)
        self._batches = point.batches(self._batch, trainer.accumulate_grad_batches)
        self._epoch = self._rows = point.epoch
        states = checkpoint[_KEY]["random"]
        self._random = states[group.rank()] if len(states) == group.world() else None
        _move_loop(checkpoint["loops"]["fit_loop"], self._batches)
        if self._options.lr0 != checkpoint[_KEY]["lr0"]:
            _scale_rates(checkpoint, self._options.lr0 / checkpoint[_KEY]["lr0"])


def _move_loop(loop: State, batches: int) -> None:
    """Has Lightning believe that so many batches of a running epoch are done; nothing where none is running."""
    if loop["epoch_progress"]["current"]["ready"] == loop["epoch_progress"]["current"]["processed"]:
        return
    for count in loop["epoch_loop.batch_progress"].values():
        if isinstance(count, dict):
            count.update(dict.fromkeys(("ready", "started", "processed", "completed"), batches))


def _scale_rates(checkpoint: State, ratio: float) -> None:
    """Another learning rate than that of the checkpoint."""
    for optimizer in checkpoint["optimizer_states"]:
        for rule in optimizer["param_groups"]:
            rule.update({name: rule[name] * ratio for name in ("lr", "initial_lr")})
    for schedule in checkpoint["lr_schedulers"]:
        schedule.update({name: [rate * ratio for rate in schedule[name]] for name in ("base_lrs", "_last_lr")})


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
