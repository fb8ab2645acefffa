"""Batches: the same for the same seed and epoch, whatever the number of workers."""

import pytest
import torch

from multibox.data.augment import AugmentSpec
from multibox.data.open import open_dataset
from multibox.data.samples import TrainSamples
from multibox.training.loader import TrainBatch, make_loader
from multibox.zoo import load_spec


def make_batches(rectangles, *, workers: int = 0, seed: int = 0, epochs: tuple[int, ...] = (0,)) -> list[TrainBatch]:
    dataset = open_dataset(rectangles, "train")
    samples = TrainSamples(dataset, load_spec("ssdlite320_mobilenet_v3_large").input, AugmentSpec(), seed)
    loader = make_loader(samples, batch=6, seed=seed, workers=workers, pin=False)
    batches = []
    for epoch in epochs:
        loader.sampler.set_epoch(epoch)
        batches += list(loader)
    return batches


def same(a: list[TrainBatch], b: list[TrainBatch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x, y) for one, two in zip(a, b, strict=True) for x, y in zip(one, two, strict=True)
    )


def test_an_epoch_holds_each_record_at_most_once_and_only_whole_batches(rectangles):
    batches = make_batches(rectangles)
    assert [len(batch.images) for batch in batches] == [6, 6]
    records = torch.cat([batch.records for batch in batches]).tolist()
    assert len(set(records)) == 12


def test_epochs_and_seeds_differ_in_order_and_draws(rectangles):
    first = make_batches(rectangles)
    assert same(first, make_batches(rectangles))
    assert not same(first, make_batches(rectangles, epochs=(1,)))
    assert not same(first, make_batches(rectangles, seed=1))


def test_workers_that_live_on_give_the_same_batches_as_none(rectangles):
    assert same(make_batches(rectangles, epochs=(0, 1)), make_batches(rectangles, workers=2, epochs=(0, 1)))


def test_a_later_epoch_does_not_depend_on_earlier_ones(rectangles):
    assert same(make_batches(rectangles, epochs=(0, 1))[2:], make_batches(rectangles, epochs=(1,)))


@pytest.mark.parametrize("workers", [0])
def test_fewer_records_than_a_batch_make_one_batch(rectangles, workers):
    dataset = open_dataset(rectangles, "val")
    samples = TrainSamples(dataset, load_spec("ssdlite320_mobilenet_v3_large").input, AugmentSpec(), 0)
    (batch,) = make_loader(samples, batch=16, seed=0, workers=workers, pin=False)
    assert len(batch.images) == 4
