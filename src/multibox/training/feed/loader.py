"""Batches for the loop: the same for the same seed and epoch, whatever the number of workers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from multibox.data.augment import Sample
from multibox.data.samples import TrainSamples, collate
from multibox.errors import UsageError
from multibox.training.feed.sampling import Floats, draw

Key = tuple[int, int]
"""(epoch, index of the record); an index that comes again in the epoch is higher by the number of records."""


class TrainBatch(NamedTuple):
    """Images RGB at network size, their objects (fractions; `valid` false is padding), and the records' indexes.

    `matrices`, `areas`, `mirrors` are what is left to do to the pixels (`data.finish`); without rows: nothing.
    """

    images: UInt8[Tensor, "n h w 3"]
    boxes: Float[Tensor, "n g 4"]
    labels: Int[Tensor, "n g"]
    valid: Bool[Tensor, "n g"]
    records: Int[Tensor, " n"]
    matrices: Float[Tensor, "m 3 4"]
    areas: Int[Tensor, "m 4"]
    mirrors: Bool[Tensor, " m"]


class EpochSamples(Dataset[tuple[int, Sample]]):
    """Samples by (epoch, index): workers that live on from epoch to epoch need not be told which one it is."""

    def __init__(self, samples: TrainSamples) -> None:
        """`samples` are augmented by their seed, the epoch and the index."""
        self.samples = samples

    def __getitem__(self, key: Key) -> tuple[int, Sample]:
        """The index, and the sample of that epoch."""
        epoch, (turn, index) = key[0], divmod(key[1], len(self.samples))
        self.samples.set_epoch(epoch, turn)
        return index, self.samples[index]


class EpochSampler(Sampler[Key]):
    """This rank's share of an epoch: as many draws as there are records, in an order by (seed, epoch) alone.

    Every record is drawn once, or as often as `draws` says, which `sampling.draws_of` gives for rare classes.

    Every step takes the next `world` batches of that order, one for each rank: one process with batches of `world * b`
    sees the same images per step as `world` processes with batches of b. What does not fill a step is left out; where
    not even one is filled, the batch is as many records as each rank can have. `batch` and `steps` tell.
    """

    def __init__(
        self,
        size: int,
        seed: int,
        *,
        batch: int,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        draws: Floats | None = None,
    ) -> None:
        """`size` is the number of records, `batch` one rank's; the epoch is a multiple of `accumulate` batches.

        Raises `UsageError` for more ranks than records.
        """
        if size < world:
            raise UsageError(f"{size} images are too few for {world} processes; start at most {size}")
        self.size, self.seed, self.epoch = size, seed, 0
        self.rank, self.world, self.draws = rank, world, draws
        self.batch = min(batch, size // world)
        batches = size // (self.batch * world)
        self.accumulate = min(accumulate, batches)
        self.steps = batches - batches % self.accumulate
        self._start = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the loop before each epoch."""
        self.epoch = epoch

    @property
    def optimizer_steps(self) -> int:
        """Steps of the optimizer in an epoch, each of `accumulate` batches."""
        return self.steps // self.accumulate

    def start_at(self, step: int) -> None:
        """The coming epoch, and that one alone, begins with batch `step` (from 0), to go on in its middle."""
        self._start = step

    def __len__(self) -> int:
        """The number of keys of a whole epoch of this rank."""
        return self.steps * self.batch

    def __iter__(self) -> Iterator[Key]:
        """(epoch, index) in the order of this epoch."""
        start, self._start = self._start, 0
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(self.size) if self.draws is None else draw(self.draws, rng)
        taken = order[: len(self) * self.world].reshape(self.steps, self.world, self.batch)
        epoch = self.epoch
        return ((epoch, int(index)) for index in taken[start:, self.rank].flat)


def make_loader(
    samples: TrainSamples,
    *,
    batch: int,
    seed: int,
    workers: int,
    pin: bool,
    rank: int = 0,
    world: int = 1,
    accumulate: int = 1,
    draws: Floats | None = None,
) -> DataLoader[tuple[int, Sample]]:
    """This rank's batches of the samples; see `EpochSampler`."""
    size = len(samples)
    sampler = EpochSampler(size, seed, batch=batch, rank=rank, world=world, accumulate=accumulate, draws=draws)
    return DataLoader(
        EpochSamples(samples),
        batch_size=sampler.batch,
        sampler=sampler,
        num_workers=workers,
        collate_fn=to_batch,
        pin_memory=pin,
        drop_last=True,
        persistent_workers=workers > 0,
        worker_init_fn=_quieten if workers else None,
        prefetch_factor=2 if workers else None,
        generator=torch.Generator(),  # its own: torch's global one must not depend on how often an epoch begins
    )


def to_batch(items: list[tuple[int, Sample]]) -> TrainBatch:
    """Samples as tensors."""
    batch = collate([sample for _, sample in items])
    return TrainBatch(
        torch.from_numpy(batch.images),
        torch.from_numpy(batch.boxes),
        torch.from_numpy(batch.labels),
        torch.from_numpy(batch.valid),
        torch.tensor([index for index, _ in items], dtype=torch.int64),
        torch.from_numpy(batch.left.matrices),
        torch.from_numpy(batch.left.areas),
        torch.from_numpy(batch.left.mirrors),
    )


def _quieten(worker: int) -> None:
    """One thread per worker, as the workers are the parallelism; signals are the main process's to answer.

    A terminal and a scheduler signal the whole group: workers that ended at once would break the step that is to end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
