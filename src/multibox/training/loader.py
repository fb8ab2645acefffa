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

Key = tuple[int, int]
"""(epoch, index of the record)."""


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
        epoch, index = key
        self.samples.set_epoch(epoch)
        return index, self.samples[index]


class EpochSampler(Sampler[Key]):
    """All records once per epoch in an order by (seed, epoch); the last incomplete batch is left out."""

    def __init__(self, size: int, seed: int) -> None:
        """`size` is the number of records."""
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the loop before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        """The number of records."""
        return self.size

    def __iter__(self) -> Iterator[Key]:
        """(epoch, index) in the order of this epoch."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        return ((self.epoch, int(index)) for index in order)


def make_loader(
    samples: TrainSamples, *, batch: int, seed: int, workers: int, pin: bool
) -> DataLoader[tuple[int, Sample]]:
    """Batches of the samples; with fewer records than `batch`, one smaller batch per epoch."""
    return DataLoader(
        EpochSamples(samples),
        batch_size=min(batch, len(samples)),
        sampler=EpochSampler(len(samples), seed),
        num_workers=workers,
        collate_fn=to_batch,
        pin_memory=pin,
        drop_last=True,
        persistent_workers=workers > 0,
        worker_init_fn=_quieten if workers else None,
        prefetch_factor=2 if workers else None,
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
