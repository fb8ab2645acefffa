"""Model x data x options -> weights, in a run folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, seed_everything
from torch.utils.data import DataLoader

from multibox.data.samples import TrainSamples
from multibox.network.model import SSD
from multibox.training.callbacks import EpochLog, Interrupted, Interruption, ResumePoint
from multibox.training.depthwise import speed_up_depthwise
from multibox.training.ema import Averaging
from multibox.training.keeper import Keeper, metrics_of
from multibox.training.loader import EpochSamples, make_loader, to_batch
from multibox.training.module import TrainingModule
from multibox.training.optimizer import freeze_parts, hold_norms
from multibox.training.options import TrainOptions, read_options
from multibox.training.pictures import draw_batch
from multibox.training.results_table import ResultsTable
from multibox.training.run_folder import LAST_CHECKPOINT, find_resumed, make_run_folder, write_arguments
from multibox.training.setup import Setup, augmentation, prepare_training
from multibox.training.trainer import accelerator_of, make_trainer
from multibox.training.validation import validate

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Where a training left its things. `metrics` are those of the best epoch, empty without validation."""

    folder: Path
    weights: Path
    epochs: int
    metrics: dict[str, float]
    interrupted: bool = False

    def as_dict(self) -> dict[str, Any]:
        """In plain types, for JSON."""
        return {**asdict(self), "folder": str(self.folder), "weights": str(self.weights)}


def train(options: TrainOptions) -> TrainResult:
    """Trains from the first step, into a new run folder. Raises `MultiboxError`s, each a sentence."""
    seed_everything(options.seed, verbose=False)
    setup = prepare_training(options)
    log.info(
        "learning rate %.4g (%s), weight decay %.4g, %s",
        setup.options.lr0,
        "as given" if options.lr0 else f"the model's, scaled to batches of {options.batch}",
        setup.options.weight_decay,
        options.optimizer,
    )
    return _run(setup, make_run_folder(options), resumed=None)


def resume(run: str | Path, changes: dict[str, Any] | None = None) -> TrainResult:
    """Goes on with a run after its last whole epoch, with the options that it was started with.

    `changes` may name `device`, `workers` and the like; another number of epochs alters the schedule from here on.
    Raises `UsageError` where there is nothing to resume.
    """
    folder = find_resumed(run)
    options = read_options(folder / "args.yaml", changes or {})
    seed_everything(options.seed, verbose=False)
    setup = prepare_training(options, folder / "weights" / "last.safetensors")
    return _run(setup, folder, resumed=folder / LAST_CHECKPOINT)


def _run(setup: Setup, folder: Path, *, resumed: Path | None) -> TrainResult:
    """The training itself, from the first step or from a checkpoint."""
    options = setup.options
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    write_arguments(folder, options)
    loader = _make_loader(setup, folder)
    module = _make_module(setup, len(loader))
    table = ResultsTable(folder / "results.csv", before_epoch=_epochs_done(resumed))
    keeper = Keeper(folder, table, options, setup.val or setup.train)
    averaging = Averaging(options.ema) if options.ema else None
    epoch_log = EpochLog(table, options.epochs, _validation(setup), keeper.keep, averaging)
    log.info("%d epochs of %d steps into %s", options.epochs, len(loader), folder)
    interrupted = _fit(options, folder, module, loader, [averaging, epoch_log, ResumePoint(folder)], resumed)
    keeper.finish(epoch_log.network(module), interrupted=interrupted)
    return TrainResult(
        folder=folder,
        weights=keeper.weights,
        epochs=int(table.rows[-1]["epoch"]) if table.rows else 0,
        metrics=metrics_of(keeper.best),
        interrupted=interrupted,
    )


def _make_loader(setup: Setup, folder: Path) -> DataLoader[Any]:
    """The batches; the first of them is drawn into `train_batch0.jpg`."""
    options, network = setup.options, setup.network.spec.input
    device = accelerator_of(options)
    samples = TrainSamples(
        setup.train,
        network,
        augmentation(options),
        options.seed,
        cache=options.cache,
        finished=device == "cpu",
        mixed_epochs=max(0, options.epochs - options.close_mosaic),
    )
    if samples.cached:
        log.info("cache: %s", samples.cached)
    pin = device == "cuda"
    loader = make_loader(samples, batch=options.batch, seed=options.seed, workers=options.workers, pin=pin)
    keyed = EpochSamples(samples)
    first = to_batch([keyed[key] for key in islice(loader.sampler, options.batch)])
    draw_batch(first, setup.train.names, folder / "train_batch0.jpg")
    return loader


def _make_module(setup: Setup, steps: int) -> TrainingModule:
    """The network ready to learn."""
    network = setup.network.to(memory_format=torch.channels_last)
    freeze_parts(network, setup.options.freeze)
    hold_norms(network, setup.options.freeze_norms)
    speed_up_depthwise(network)
    paths = [record.path for record in setup.train.records]
    return TrainingModule(network, setup.options, steps, paths, setup.teacher)


def _fit(
    options: TrainOptions,
    folder: Path,
    module: TrainingModule,
    loader: DataLoader[Any],
    callbacks: list[Callback | None],
    resumed: Path | None,
) -> bool:
    """Runs the loop; whether it was interrupted."""
    interruption = Interruption()
    trainer = make_trainer(options, folder, [interruption, *(each for each in callbacks if each)])
    try:
        with interruption.listening():
            trainer.fit(module, loader, ckpt_path=resumed, weights_only=True)
    except Interrupted:
        return True
    return False


def _validation(setup: Setup) -> Callable[[SSD, int], dict[str, float] | None]:
    """(network, epoch) -> metrics, in the epochs that are validated; the last one always is."""
    options, dataset = setup.options, setup.val

    def run(network: SSD, epoch: int) -> dict[str, float] | None:
        if dataset is None or (epoch % options.val_period and epoch != options.epochs):
            return None
        return validate(network, dataset, options.batch)

    return run


def _epochs_done(resumed: Path | None) -> int:
    """Whole epochs behind a checkpoint."""
    if resumed is None:
        return 0
    return int(torch.load(resumed, map_location="cpu", weights_only=True)["epoch"]) + 1
