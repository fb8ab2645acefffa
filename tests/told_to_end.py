"""A training that is told to end: in a module of its own, which processes that begin anew can import."""

import os
import signal
from typing import Any

import torch

from multibox.training.module import TrainingModule
from multibox.training.options import TrainOptions
from multibox.training.train import TrainResult, train


def train_until(options: TrainOptions, step: int, rank: int) -> TrainResult:
    """A training of which one rank is told to end in this step."""
    original, steps = TrainingModule.training_step, []

    def watched(self: TrainingModule, batch: Any, index: int) -> torch.Tensor:
        steps.append(index)
        if len(steps) == step and int(os.environ["RANK"]) == rank:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, index)

    TrainingModule.training_step = watched
    return train(options)
