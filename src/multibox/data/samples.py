"""Records become training samples, and samples a batch; NumPy only, for any loader with worker processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from multibox.data.augment import AugmentSpec, Sample, complete, look
from multibox.data.cache import Cache, open_photos
from multibox.data.dataset import Dataset
from multibox.data.finish import Finishes, stack
from multibox.data.mosaic import mixup, mosaic
from multibox.data.view import Item, View
from multibox.images.prepare import fill_color
from multibox.images.read import Pixels
from multibox.spec import InputSpec


@dataclass(frozen=True, slots=True)
class Batch:
    """Images uint8 [n, h, w, 3] RGB, boxes as fractions [n, g, 4], labels [n, g]; `valid` [n, g] tells padding apart.

    g is the largest number of objects in one image, and may be 0. `left` is what is still to be done to the pixels,
    without rows where they are finished.
    """

    images: Pixels
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    valid: NDArray[np.bool_]
    left: Finishes


class TrainSamples:
    """A map-style dataset of augmented samples; the same (seed, epoch, index) always gives the same sample.

    Crowd boxes are left out: one box around many objects is no object to learn. `cache` keeps the files' bytes or their
    pixels (`data.cache`), all at once, and workers share them. Unless `finished`, colours and mirror are left to the
    device. Instances travel to worker processes by pickle.
    """

    def __init__(
        self,
        dataset: Dataset,
        network: InputSpec,
        augment: AugmentSpec,
        seed: int = 0,
        *,
        cache: Cache = False,
        finished: bool = True,
        mixed_epochs: int | None = None,
    ) -> None:
        """After `mixed_epochs` epochs there is no mosaic and no mixup; none: they go on.

        Raises, with `cache`, `DataError` where a file cannot be read and `UsageError` where there is no room.
        """
        self._records = dataset.records
        self._network = network
        self._augment = augment
        self._seed = seed
        self._finished = finished
        self._mixed_epochs = mixed_epochs
        self._epoch = self._turn = 0
        self._photos = open_photos(cache, self._records, network, augment.headroom)
        self._process = os.getpid()

    def __len__(self) -> int:
        """The number of images."""
        return len(self._records)

    @property
    def cached(self) -> str:
        """What is kept where, for a person; empty for nothing."""
        return self._photos.said

    def set_epoch(self, epoch: int, turn: int = 0) -> None:
        """Other draws for another epoch, and for another `turn` of the same record in it."""
        self._epoch, self._turn = epoch, turn

    def __getitem__(self, index: int) -> Sample:
        """The sample of one record. Raises `DataError` naming an image that cannot be read."""
        if self._process != os.getpid():  # a worker: one core each, or the workers' OpenCV threads fight for cores
            cv2.setNumThreads(0)
            self._process = os.getpid()
        index = range(len(self._records))[index]
        spec, rng = self._augment, np.random.default_rng((self._seed, self._epoch, index, self._turn))
        if self._mixed_epochs is not None and self._epoch >= self._mixed_epochs:
            spec = replace(spec, mosaic=0.0, mixup=0.0)
        view = self._view(index, spec, rng)
        if spec.mixup and rng.random() < spec.mixup:
            view = mixup(view, look(self._item(self._any(rng)), spec, self._network, rng), rng)
        return complete(view, spec, rng, finished=self._finished)

    def _view(self, index: int, spec: AugmentSpec, rng: np.random.Generator) -> View:
        """The photo of one record, alone or in a mosaic with three drawn ones; its own place there is drawn too."""
        if not (spec.mosaic and rng.random() < spec.mosaic):
            return look(self._item(index), spec, self._network, rng)
        chosen = rng.permutation([index, *(self._any(rng) for _ in range(3))])
        items = [self._item(int(each)) for each in chosen]
        return mosaic(items, spec.mosaic_scale, spec.fill or fill_color(self._network), self._network, rng)

    def _any(self, rng: np.random.Generator) -> int:
        """Some record, drawn evenly."""
        return int(rng.integers(len(self._records)))

    def _item(self, index: int) -> Item:
        """One record's photo, not yet decoded, and the objects that are learnt."""
        record = self._records[index]
        learnt = ~record.crowd
        return Item(self._photos.photo(index), record.boxes[learnt], record.labels[learnt])


def collate(samples: Sequence[Sample]) -> Batch:
    """One batch of at least one sample; images without objects are legal."""
    most = max(len(sample.labels) for sample in samples)
    boxes = np.zeros((len(samples), most, 4), np.float32)
    labels = np.zeros((len(samples), most), np.int64)
    valid = np.zeros((len(samples), most), np.bool_)
    for row, sample in enumerate(samples):
        count = len(sample.labels)
        boxes[row, :count] = sample.boxes
        labels[row, :count] = sample.labels
        valid[row, :count] = True
    left = stack([sample.left for sample in samples if sample.left])
    return Batch(np.stack([sample.image for sample in samples]), boxes, labels, valid, left)
