"""What the loop works with, from a setup: the batches, and the network ready to learn."""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from multibox.data.samples import TrainSamples
from multibox.training.feed.loader import EpochSampler, EpochSamples, make_loader, to_batch
from multibox.training.feed.sampling import draws_of
from multibox.training.kept.pictures import draw_batch
from multibox.training.kept.resume_point import ResumePoint
from multibox.training.loop.depthwise import speed_up_depthwise
from multibox.training.loop.module import TrainingModule
from multibox.training.loop.optimizer import freeze_parts, hold_norms
from multibox.training.loop.trainer import accelerator_of
from multibox.training.processes import group
from multibox.training.setup import Setup, augmentation

log = logging.getLogger(__name__)


def loader_of(setup: Setup, folder: Path, resumed: ResumePoint | None) -> tuple[DataLoader[Any], EpochSampler]:
    """The batches, from where the training goes on; the very first of them is drawn into `train_batch0.jpg`."""
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
    loader = make_loader(
        samples, batch=options.batch, seed=options.seed, workers=options.workers, pin=pin,
        rank=group.rank(), world=group.world(), accumulate=options.accumulate,
        draws=draws_of(setup.train.records, len(setup.train.names), options.balance, options.repeat_threshold),
    )  # fmt: skip
    if group.is_main():
        _draw_first(setup, folder, samples, loader)
    sampler = loader.sampler
    assert isinstance(sampler, EpochSampler)
    if resumed:
        sampler.set_epoch(resumed.epoch)
        sampler.start_at(resumed.batches(sampler.batch, sampler.accumulate))
    return loader, sampler


def _draw_first(setup: Setup, folder: Path, samples: TrainSamples, loader: DataLoader[Any]) -> None:
    """`train_batch0.jpg`."""
    keyed = EpochSamples(samples)
    first = to_batch([keyed[key] for key in islice(loader.sampler, setup.options.batch)])
    draw_batch(first, setup.train.names, folder / "train_batch0.jpg")


def module_of(setup: Setup, steps: int) -> TrainingModule:
    """The network ready to learn."""
    network = setup.network.to(memory_format=torch.channels_last)
    freeze_parts(network, setup.options.freeze)
    hold_norms(network, setup.options.freeze_norms)
    speed_up_depthwise(network)
    paths = [record.path for record in setup.train.records]
    return TrainingModule(network, setup.options, steps, paths, setup.teacher)
