"""What a run tries before it gives up: once the last sound checkpoint at half the rate, and batches that fit."""

from __future__ import annotations

import gc
import logging
from dataclasses import replace
from pathlib import Path

import torch
from lightning.pytorch import seed_everything

from multibox.errors import ModelError, MultiboxError
from multibox.training.kept.resume_point import ResumePoint, find_resume_point
from multibox.training.loop.failures import OutOfMemory
from multibox.training.loop.step_guard import Diverged
from multibox.training.options import TrainOptions
from multibox.training.processes import group
from multibox.training.setup import Setup

log = logging.getLogger(__name__)


class Recovery:
    """Prepares another attempt after one that failed."""

    def __init__(self, setup: Setup, folder: Path, resumed: ResumePoint | None) -> None:
        """Keeps the weights that the run starts from."""
        self.setup, self.resumed = setup, resumed
        self._folder = folder
        self._start = {name: tensor.cpu().clone() for name, tensor in setup.network.state_dict().items()}
        self._rolled_back = False

    def prepare(self, error: MultiboxError) -> None:
        """Sets `setup` and `resumed` for the next attempt. Raises `error` where there is nothing left to try."""
        options = self.setup.options
        if isinstance(error, Diverged) and not self._rolled_back:
            self._rolled_back = True
            changed = _slower(options)
            words = f"half the rate ({changed.lr0:.4g})"
        elif isinstance(error, OutOfMemory) and options.auto_batch and options.batch > 1 and group.world() == 1:
            changed = smaller_batches(options)
            words = f"batches of {changed.batch}, {changed.accumulate} of them a step"
        else:
            raise error
        group.from_main(None)  # rank 0 has settled which checkpoints there are
        self._go_back()
        where = f"epoch {self.resumed.epoch + 1}" if self.resumed else "the start"
        log.warning("%s", error)
        log.warning("going on from %s with %s", where, words)
        self.setup = replace(self.setup, options=changed)

    def _go_back(self) -> None:
        """To the newest checkpoint, else to the start."""
        try:
            self.resumed = find_resume_point(self._folder)
        except ModelError:
            self.resumed = None
            self.setup.network.load_state_dict(self._start)
            seed_everything(self.setup.options.seed, verbose=False)


def smaller_batches(options: TrainOptions) -> TrainOptions:
    """At most half the batch, and more of them a step: the largest with which a step has as many images as before."""
    images = options.batch * options.accumulate
    batch = next(size for size in range(options.batch // 2, 0, -1) if images % size == 0)
    return replace(options, batch=batch, accumulate=images // batch)


def free_memory() -> None:
    """Gives back what a failed attempt held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _slower(options: TrainOptions) -> TrainOptions:
    """The same with half the rate: repeated as it was, the same would happen again."""
    assert options.lr0 is not None
    return replace(options, lr0=options.lr0 / 2)
