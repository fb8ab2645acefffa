"""Finds a learning rate and a batch before a training: short trials, of which nothing is kept."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer, seed_everything

from multibox.data.augment import AugmentSpec
from multibox.data.samples import TrainSamples
from multibox.errors import UsageError
from multibox.results.files import placed
from multibox.training.assemble import loader_of, module_of
from multibox.training.feed.loader import TrainBatch, to_batch
from multibox.training.loop.failures import explained, is_out_of_memory
from multibox.training.loop.module import TrainingModule
from multibox.training.loop.optimizer import freeze_parts
from multibox.training.loop.recovery import free_memory
from multibox.training.loop.trainer import accelerator_of, make_trainer
from multibox.training.options import TrainOptions
from multibox.training.setup import Setup, prepare_training

log = logging.getLogger(__name__)

_LOWEST, _HIGHEST, _STEPS = 1e-6, 10.0, 100
_DIVERGED = 4.0
"""How many times the least loss is the end of the search."""
_FIRST = 10
"""Steps before which the mean loss is that of too few."""
_MOST = 1024


@dataclass(frozen=True, kw_only=True)
class RateSearch:
    """Rates, the smoothed losses at them, and the rate at which the loss falls fastest; `plot` shows it."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float
    plot: Path


class RateSweep(Callback):  # type: ignore[misc]
    """Raises the learning rate step by step, evenly in its logarithm, until the loss runs away (Smith 2015)."""

    def __init__(self) -> None:
        """Nothing is measured yet."""
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._mean = 0.0

    def on_train_batch_start(self, trainer: Trainer, module: TrainingModule, batch: Any, batch_idx: int) -> None:
        """The next rate, in the same proportion for all groups of parameters."""
        share = trainer.global_step / (_STEPS - 1)
        rate = _LOWEST * (_HIGHEST / _LOWEST) ** share
        for rule in trainer.optimizers[0].param_groups:
            rule["lr"] = rate * rule["initial_lr"] / module.options.lr0

    def on_train_batch_end(
        self, trainer: Trainer, module: TrainingModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes the loss, averaged over about ten steps."""
        assert module.losses is not None
        loss = float(torch.stack(list(module.losses)).sum())
        count = len(self.losses) + 1
        if math.isfinite(loss):
            self._mean = 0.9 * self._mean + 0.1 * loss
            self.losses.append(self._mean / (1 - 0.9**count))
            self.rates.append(_LOWEST * (_HIGHEST / _LOWEST) ** ((count - 1) / (_STEPS - 1)))
        away = not math.isfinite(loss) or (count > 10 and self.losses[-1] > _DIVERGED * min(self.losses))
        trainer.should_stop = trainer.should_stop or away or trainer.global_step >= _STEPS


def find_rate(options: TrainOptions) -> RateSearch:
    """Trains for at most 100 steps at rising rates; draws `find_lr.png` into the project's folder.

    Raises what a training raises, and `UsageError` where the loss never falls.
    """
    seed_everything(options.seed, verbose=False)
    setup = prepare_training(options)
    sweep = RateSweep()
    with TemporaryDirectory() as folder, explained(options):
        loader, sampler = loader_of(setup, Path(folder), None)
        steps = sampler.optimizer_steps
        module = module_of(setup, steps)
        trainer = make_trainer(
            replace(setup.options, epochs=math.ceil(_STEPS / steps)), Path(folder), [sweep], sampler.accumulate
        )
        trainer.fit(module, loader)
    best = _steepest(sweep)
    plot = Path(options.project) / "find_lr.png"
    _draw(sweep, best, plot)
    return RateSearch(rates=tuple(sweep.rates), losses=tuple(sweep.losses), suggestion=sweep.rates[best], plot=plot)


def find_batch(options: TrainOptions, fits: Callable[[Setup, int], bool] | None = None) -> int:
    """The largest power of two of which one step fits in the GPU's memory, at most as many as there are images.

    Raises `UsageError` on another device: there memory is the whole machine's, and larger batches are no faster.
    """
    if fits is None and accelerator_of(options) != "cuda":
        raise UsageError("--find-batch fills a GPU's memory, and there is none; give --batch (16 is a good start)")
    setup = prepare_training(options)
    batch, most = 1, min(_MOST, len(setup.train))
    while batch * 2 <= most and (fits or _fits)(setup, batch * 2):
        batch *= 2
        log.info("batches of %d images fit", batch)
    return batch


def _fits(setup: Setup, size: int) -> bool:
    """Whether a step with the image of the most objects, so many times, runs through."""
    options, network = setup.options, setup.network
    freeze_parts(network, options.freeze)
    module = TrainingModule(network, options, 1, (), setup.teacher).to("cuda", memory_format=torch.channels_last)
    optimizer = module.configure_optimizers()["optimizer"]
    kind = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}[options.amp]
    try:
        with torch.autocast("cuda", dtype=kind, enabled=kind is not None):
            loss = module.training_step(_fullest(setup, size), 0)
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        optimizer.step()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        module.zero_grad()
        free_memory()
    return True


def _fullest(setup: Setup, size: int) -> TrainBatch:
    """A batch on the GPU of one image alone: the one with the most objects."""
    index = max(range(len(setup.train)), key=lambda each: len(setup.train.records[each].labels))
    samples = TrainSamples(setup.train, setup.network.spec.input, AugmentSpec.none())
    one = to_batch([(index, samples[index])])
    return TrainBatch(*(part.expand(size if len(part) else 0, *part.shape[1:]).cuda() for part in one))


def _steepest(sweep: RateSweep) -> int:
    """Index of the rate at which the loss falls fastest, before it is lowest. Raises `UsageError`."""
    losses = np.array(sweep.losses)
    lowest = int(losses.argmin()) if len(losses) else 0
    if lowest < _FIRST + 3:
        raise UsageError("--find-lr: the loss fell at no rate; see train_batch0.jpg of a run for what is learnt")
    return _FIRST + int(np.gradient(losses[_FIRST : lowest + 1]).argmin())


def _draw(sweep: RateSweep, best: int, path: Path) -> None:
    """The loss over the rate, and the suggestion."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(sweep.rates, sweep.losses)
    axes.plot(sweep.rates[best], sweep.losses[best], "o", label=f"--lr0 {sweep.rates[best]:.2g}")
    axes.set(xlabel="learning rate", ylabel="loss, smoothed", ylim=(0, 1.5 * sweep.losses[0]))
    axes.grid(alpha=0.3)
    axes.legend()
    with placed(path) as part:
        FigureCanvasAgg(figure).print_png(part)
