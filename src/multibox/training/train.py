"""Model x data x options -> weights, in a run folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from torch.utils.data import DataLoader

from multibox.network.model import SSD
from multibox.training.assemble import loader_of, module_of
from multibox.training.kept.checkpoints import remove_drafts
from multibox.training.kept.keeper import Keeper, metrics_of
from multibox.training.kept.results_table import ResultsTable
from multibox.training.kept.resume_point import CheckpointWriter, ResumePoint, find_resume_point
from multibox.training.kept.run_folder import find_resumed, make_run_folder, write_arguments
from multibox.training.loop.ema import Averaging
from multibox.training.loop.epoch_end import EpochEnd
from multibox.training.loop.epoch_log import EpochLog
from multibox.training.loop.failures import OutOfMemory, explained
from multibox.training.loop.interruption import Interrupted, Interruption
from multibox.training.loop.module import TrainingModule
from multibox.training.loop.recovery import Recovery, free_memory
from multibox.training.loop.step_guard import Diverged
from multibox.training.loop.trainer import accelerator_of, make_trainer
from multibox.training.loop.validation import validate
from multibox.training.options import TrainOptions
from multibox.training.options_file import read_options
from multibox.training.processes import group
from multibox.training.setup import Setup, prepare_training

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
    """Trains from the first step, into a new run folder. Raises `MultiboxError`s, each a sentence.

    Where a launcher has started several processes, all call it alike, and it returns the same on all.
    """
    with group.joined(accelerator_of(options)):
        return _begin(options)


def _begin(options: TrainOptions) -> TrainResult:
    """The same in this process of the group."""
    seed_everything(options.seed, verbose=False)
    with group.main_first():
        setup = prepare_training(options)
    log.info(
        "learning rate %.4g (%s), weight decay %.4g, %s",
        setup.options.lr0,
        "as given" if options.lr0 else f"the model's, scaled to {options.total_batch} images",
        setup.options.weight_decay,
        options.optimizer,
    )
    folder = make_run_folder(options) if group.is_main() else Path()
    return _run(setup, group.from_main(folder), resumed=None)


def resume(run: str | Path, changes: dict[str, Any] | None = None) -> TrainResult:
    """Goes on with a run after the last step that its checkpoint holds, with the options that it was started with.

    `changes` may name `device`, `workers` and the like; another number of epochs alters the schedule from here on.
    Raises `UsageError` where there is nothing to resume.
    """
    folder = find_resumed(run)
    options = read_options(folder / "args.yaml", changes or {})
    with group.joined(accelerator_of(options)):
        return _go_on(folder, options)


def _go_on(folder: Path, options: TrainOptions) -> TrainResult:
    """The same in this process of the group."""
    seed_everything(options.seed, verbose=False)
    with group.main_first():
        resumed = find_resume_point(folder)
        setup = prepare_training(options, resumed.spec)
    if group.is_main():
        remove_drafts(resumed.path.parent)
    return _run(setup, folder, resumed=resumed)


def _run(setup: Setup, folder: Path, *, resumed: ResumePoint | None) -> TrainResult:
    """The training itself, from the first step or from a checkpoint, in as many attempts as make sense."""
    if setup.options.threads is not None:
        torch.set_num_threads(setup.options.threads)
    recovery, interruption = Recovery(setup, folder, resumed), Interruption()
    with interruption.listening():
        while True:
            try:
                return _attempt(recovery.setup, folder, interruption, recovery.resumed)
            except (Diverged, OutOfMemory) as error:
                recovery.prepare(error)
            free_memory()


def _attempt(setup: Setup, folder: Path, interruption: Interruption, resumed: ResumePoint | None) -> TrainResult:
    """One go at it."""
    options = setup.options
    if group.is_main():
        write_arguments(folder, options)
    loader, sampler = loader_of(setup, folder, resumed)
    steps = sampler.optimizer_steps
    module = module_of(setup, steps)
    table = ResultsTable(folder / "results.csv", before_epoch=resumed.rows if resumed else 0)
    keeper = Keeper(folder, table, options, setup.val or setup.train)
    averaging, epoch_log = Averaging(options.ema) if options.ema else None, EpochLog()
    writer = CheckpointWriter(folder, options, sampler.batch, interruption)
    ending = EpochEnd(epoch_log, table, options.epochs, _validation(setup, interruption), keeper.keep, averaging)
    log.info("%d epochs of %d steps into %s", options.epochs, steps, folder)
    callbacks = [each for each in (averaging, epoch_log, writer, ending) if each]
    trainer = make_trainer(options, folder, callbacks, sampler.accumulate)
    interrupted = _fit(trainer, module, loader, resumed)
    if group.is_main():
        keeper.finish(ending.network(module), interrupted=interrupted)
    result = TrainResult(
        folder=folder,
        weights=keeper.weights,
        epochs=int(table.rows[-1]["epoch"]) if table.rows else 0,
        metrics=metrics_of(keeper.best),
        interrupted=interrupted,
    )
    return group.from_main(result)


def _fit(trainer: Trainer, module: TrainingModule, loader: DataLoader[Any], resumed: ResumePoint | None) -> bool:
    """Runs the loop; whether it was interrupted."""
    try:
        with explained(module.options):
            trainer.fit(module, loader, ckpt_path=resumed.path if resumed else None, weights_only=True)
    except Interrupted:
        return True
    return False


def _validation(setup: Setup, interruption: Interruption) -> Callable[[SSD, int], dict[str, float] | None]:
    """(network, epoch) -> metrics, in the epochs that are validated; the last one always is."""
    options, dataset = setup.options, setup.val

    def run(network: SSD, epoch: int) -> dict[str, float] | None:
        if dataset is None or (epoch % options.val_period and epoch != options.epochs):
            return None
        return validate(network, dataset, options.batch, interruption)

    return run
