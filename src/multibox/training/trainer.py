"""Lightning's Trainer as we use it: one device, our own files, TensorBoard beside them, no words of its own."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from multibox.errors import UsageError
from multibox.training.batch_bar import BatchBar
from multibox.training.checkpoints import CheckpointFiles
from multibox.training.options import TrainOptions


def make_trainer(options: TrainOptions, folder: Path, callbacks: Sequence[Callback]) -> Trainer:
    """The trainer for these options; a bar is added on a terminal. Raises `UsageError` for a device there is not."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    bar = [BatchBar()] if sys.stderr.isatty() else []
    return Trainer(
        accelerator=accelerator_of(options),
        devices=_devices(options),
        max_epochs=options.epochs,
        precision="bf16-mixed" if options.amp == "bf16" else "32-true",
        gradient_clip_val=options.clip_grad,
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        callbacks=[*callbacks, *bar],
        plugins=[CheckpointFiles()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def accelerator_of(options: TrainOptions) -> str:
    """`cpu`, `cuda` or `mps`. Raises `UsageError` for a device there is not."""
    kind = options.device.split(":")[0]
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if kind == "auto":
        return next(name for name, there in available.items() if there)
    if kind not in available:
        raise UsageError(f"device '{options.device}' is none of auto, cpu, cuda, cuda:N, mps")
    if not available[kind]:
        raise UsageError(f"device '{options.device}' is not there; use --device cpu or auto")
    return kind


def _devices(options: TrainOptions) -> list[int] | int:
    """Lightning's word for the device: one of them, by number where a number is given."""
    _, _, number = options.device.partition(":")
    if number and not number.isdecimal():
        raise UsageError(f"device '{options.device}' is none of auto, cpu, cuda, cuda:N, mps")
    return [int(number)] if number else 1
