"""Batches: the same for the same seed and epoch, whatever the number of workers."""

from itertools import chain

import pytest
import torch

from multibox.data.augment import AugmentSpec
from multibox.data.open import open_dataset
from multibox.data.samples import TrainSamples
from multibox.errors import UsageError
from multibox.training.feed.loader import EpochSampler, EpochSamples, TrainBatch, make_loader
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


def steps_of(sampler: EpochSampler) -> list[list[tuple[int, int]]]:
    keys = list(sampler)
    return [keys[i : i + sampler.batch] for i in range(0, len(keys), sampler.batch)]


@pytest.mark.parametrize(("size", "world", "batch"), [(20, 2, 4), (23, 2, 4), (23, 3, 2), (5, 2, 4), (3, 3, 1)])
def test_many_ranks_see_per_step_what_one_sees_with_the_joint_batch(size, world, batch):
    joint = EpochSampler(size, 5, batch=batch * world if size >= batch * world else size // world * world)
    ranks = [EpochSampler(size, 5, batch=batch, rank=rank, world=world) for rank in range(world)]
    for epoch in (0, 3):
        for sampler in (joint, *ranks):
            sampler.set_epoch(epoch)
        steps = zip(*map(steps_of, ranks), strict=True)
        assert [list(chain(*step)) for step in steps] == steps_of(joint)


def test_an_epoch_can_begin_in_its_middle_and_the_next_one_is_whole():
    sampler = EpochSampler(20, 0, batch=3, rank=1, world=2)
    whole = steps_of(sampler)
    sampler.start_at(2)
    assert steps_of(sampler) == whole[2:]
    assert steps_of(sampler) == whole
    assert len(sampler) == 9


def test_more_processes_than_images_are_refused():
    with pytest.raises(UsageError, match="3 images are too few for 4 processes"):
        EpochSampler(3, 0, batch=1, world=4)


def test_a_record_that_comes_again_is_changed_in_another_way(rectangles):
    dataset = open_dataset(rectangles, "train")
    samples = EpochSamples(TrainSamples(dataset, load_spec("ssdlite320_mobilenet_v3_large").input, AugmentSpec(), 0))
    (index, first), (again, second) = samples[0, 3], samples[0, 3 + len(dataset)]
    assert index == again == 3
    assert not (first.image == second.image).all()
