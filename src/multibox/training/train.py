"""Model x data x options -> weights, in a run folder."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger

from multibox.data.samples import TrainSamples
from multibox.errors import UsageError
from multibox.network.model import SSD
from multibox.training.callbacks import EpochLog, Interrupted, Interruption, ResumePoint
from multibox.training.ema import Averaging
from multibox.training.keeper import Keeper, metrics_of
from multibox.training.loader import make_loader
from multibox.training.module import TrainingModule
from multibox.training.optimizer import freeze_parts
from multibox.training.options import TrainOptions, default_decay, default_rate, read_options, to_table
from multibox.training.results_table import ResultsTable
from multibox.training.run_folder import LAST_CHECKPOINT, find_resumed, make_run_folder, write_arguments
from multibox.training.setup import Setup, augmentation, prepare_training

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Where a training left its things. `metrics` are those of the best epoch, empty without validation."""

    folder: Path
    weights: Path
    epochs: int
    metrics: dict[str, float]
    interrupted: bool = False


def train(options: TrainOptions) -> TrainResult:
    """Trains from the start, into a new run folder. Raises `MultiboxError`s, each a sentence."""
    seed_everything(options.seed, verbose=False)
    setup = prepare_training(options)
    return _run(setup, make_run_folder(options), resumed=None)


def resume(run: str | Path, changes: dict[str, Any] | None = None) -> TrainResult:
    """Goes on with a run after its last whole epoch, with the options that it was started with.

    `changes` may name `device`, `workers` and the like; a change of `epochs` alters the schedule from here on.
    """
    folder = find_resumed(run)
    options = read_options(folder / "args.yaml", changes or {})
    seed_everything(options.seed, verbose=False)
    return _run(prepare_training(options), folder, resumed=folder / LAST_CHECKPOINT)


def _run(setup: Setup, folder: Path, *, resumed: Path | None) -> TrainResult:
    """The training itself, from the first step or from a checkpoint."""
    options, network = setup.options, setup.network.to(memory_format=torch.channels_last)
    freeze_parts(network, options.freeze)
    rate = options.lr0 or default_rate(network.spec, options)
    decay = default_decay(network.spec, options) if options.weight_decay is None else options.weight_decay
    resolved = {"lr0": rate, "weight_decay": decay}
    write_arguments(folder, options, resolved)
    samples = TrainSamples(setup.train, network.spec.input, augmentation(options), options.seed, cache=options.cache)
    loader = make_loader(
        samples, batch=options.batch, seed=options.seed, workers=options.workers, pin=_accelerator(options) != "cpu"
    )
    paths = [record.path for record in setup.train.records]
    module = TrainingModule(
        network, options, rate=rate, decay=decay, steps=len(loader), paths=paths, teacher=setup.teacher
    )
    table = ResultsTable(folder / "results.csv", before_epoch=_epochs_done(resumed))
    keeper = Keeper(folder, table, options, {**to_table(options), **resolved})
    averaging = Averaging(options.ema) if options.ema else None
    epoch_log = EpochLog(table, options.epochs, _validation(setup), keeper.keep, averaging)
    callbacks = [Interruption(), *([averaging] if averaging else []), epoch_log, ResumePoint(folder)]
    _say_start(options, folder, rate, decay, len(loader))
    interrupted = _fit(options, folder, module, loader, callbacks, resumed)
    if interrupted:
        keeper.write(epoch_log.network(module), "last", None)
    return TrainResult(
        folder=folder, weights=keeper.weights, epochs=int(table.rows[-1]["epoch"]) if table.rows else 0,
        metrics=metrics_of(keeper.best), interrupted=interrupted,
    )  # fmt: skip


def _fit(
    options: TrainOptions, folder: Path, module: TrainingModule, loader: Any, callbacks: list[Callback],
    resumed: Path | None,
) -> bool:  # fmt: skip
    """Runs Lightning's loop; whether it was interrupted."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    accelerator, devices = _accelerator(options), _devices(options)
    trainer = Trainer(
        accelerator=accelerator,
        devices=devices,
        max_epochs=options.epochs,
        precision="bf16-mixed" if options.amp == "bf16" else "32-true",
        gradient_clip_val=options.clip_grad,
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        use_distributed_sampler=False,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        try:
            trainer.fit(module, loader, ckpt_path=resumed, weights_only=True)
        except Interrupted:
            return True
    return False


def _validation(setup: Setup) -> Any:
    """(network, epoch) -> metrics, in the epochs that are validated; the last one always is."""
    options, dataset = setup.options, setup.val

    def run(network: SSD, epoch: int) -> dict[str, float] | None:
        if dataset is None or (epoch % options.val_period and epoch != options.epochs):
            return None
        from multibox.training.validation import validate

        return validate(network, dataset, options.batch)

    return run


def _epochs_done(resumed: Path | None) -> int:
    """Whole epochs behind a checkpoint."""
    if resumed is None:
        return 0
    return int(torch.load(resumed, map_location="cpu", weights_only=True)["epoch"]) + 1


def _accelerator(options: TrainOptions) -> str:
    """`cpu`, `cuda` or `mps`. Raises `UsageError` for a device there is not."""
    kind = options.device.split(":")[0]
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        return next((name for name in ("cuda", "mps") if available[name]), "cpu")
    if kind not in available:
        raise UsageError(f"device '{options.device}' is none of auto, cpu, cuda, cuda:N, mps")
    if not available[kind]:
        raise UsageError(f"device '{options.device}' is not there; use --device cpu or auto")
    return kind


def _devices(options: TrainOptions) -> Any:
    """Lightning's word for the device: one of them, by number where a number is given."""
    _, _, number = options.device.partition(":")
    if number and not number.isdecimal():
        raise UsageError(f"device '{options.device}' is none of auto, cpu, cuda, cuda:N, mps")
    return [int(number)] if number else 1


def _say_start(options: TrainOptions, folder: Path, rate: float, decay: float, steps: int) -> None:
    """What is about to happen."""
    origin = "as given" if options.lr0 else f"the recipe's, scaled to batches of {options.batch}"
    log.info("learning rate %.4g (%s), weight decay %.4g, %s", rate, origin, decay, options.optimizer)
    log.info("%d epochs of %d steps into %s", options.epochs, steps, folder)
