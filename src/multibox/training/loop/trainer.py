"""Lightning's Trainer as we use it: one device per process, our files, TensorBoard beside them, no words of its own."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer

from multibox.errors import UsageError
from multibox.training.kept.checkpoints import CheckpointFiles
from multibox.training.kept.loggers import make_loggers
from multibox.training.loop.batch_bar import BatchBar
from multibox.training.options import TrainOptions
from multibox.training.processes import cluster, group


def make_trainer(options: TrainOptions, folder: Path, callbacks: Sequence[Callback], accumulate: int) -> Trainer:
    """The trainer for these options; a bar is added on a terminal. Raises `UsageError` for a device there is not."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    bar = [BatchBar()] if sys.stderr.isatty() and group.is_main() else []
    kind = accelerator_of(options)
    return Trainer(
        accelerator=kind,
        devices=cluster.devices(options, kind),
        strategy=cluster.strategy(),
        sync_batchnorm=cluster.synchronises_norms(options, kind),
        max_epochs=options.epochs,
        precision=_precision(options, kind),
        gradient_clip_val=options.clip_grad,
        accumulate_grad_batches=accumulate,
        logger=make_loggers(options, folder),
        callbacks=[*callbacks, *bar],
        plugins=[CheckpointFiles(), cluster.environment()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _precision(options: TrainOptions, kind: str) -> str:
    """Lightning's word for it. Raises `UsageError` for float16 where there is no gradient scaler for it."""
    if options.amp == "fp16" and kind != "cuda":
        raise UsageError(f"amp fp16 needs a CUDA device, and this is '{kind}'; use --amp bf16 or none")
    return {"none": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[options.amp]


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
