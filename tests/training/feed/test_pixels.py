"""Colours, mirror and normalisation on the device are those of a worker, within rounding."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from multibox.data.augment import AugmentSpec
from multibox.data.open import open_dataset
from multibox.data.photometric import Photometric
from multibox.data.samples import TrainSamples
from multibox.network.normalize import Normalize
from multibox.spec import InputSpec
from multibox.training.feed.loader import TrainBatch, to_batch
from multibox.training.feed.pixels import finished_pixels, network_input

INPUT = InputSpec(height=90, width=120, mean=(123.0, 117.0, 104.0), std=(58.0, 57.0, 57.5))


@pytest.fixture(scope="module")
def batches(rectangles) -> dict[bool, TrainBatch]:
    """The same 16 samples, finished by the worker and not."""
    dataset = open_dataset(rectangles, "train")
    spec = AugmentSpec(photometric=Photometric(p=1.0, shuffle_p=0.5), zoom_out_p=0.7)
    samples = {done: TrainSamples(dataset, INPUT, spec, 1, finished=done) for done in (True, False)}
    return {done: to_batch([(index, each[index]) for index in range(16)]) for done, each in samples.items()}


def test_finished_batches_have_nothing_left_to_do(batches):
    assert [len(batches[True].matrices), len(batches[False].matrices)] == [0, 16]
    assert finished_pixels(batches[True]) is batches[True].images
    assert 0 < int(batches[False].mirrors.sum()) < 16


def test_pixels_are_those_of_a_worker_within_a_grey_level(batches):
    far = (finished_pixels(batches[False]).int() - batches[True].images.int()).abs()
    assert int(far.max()) <= 1 and float(far.float().mean()) < 0.05


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("amp", [False, True])
def test_the_networks_input_is_that_of_a_worker_within_a_grey_level(batches, color, amp):
    normalize = Normalize(replace(INPUT, color=color))
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        ours, theirs = (network_input(batches[done], normalize) for done in (False, True))
    assert ours.dtype == torch.float32 and ours.is_contiguous(memory_format=torch.channels_last)
    assert ((ours - theirs).abs() * normalize.std).max() <= 1


def test_without_any_draw_the_input_is_the_plain_one(rectangles):
    dataset = open_dataset(rectangles, "train")
    samples = TrainSamples(dataset, INPUT, AugmentSpec.none(), finished=False)
    batch, normalize = to_batch([(0, samples[0])]), Normalize(INPUT)
    torch.testing.assert_close(network_input(batch, normalize), normalize(batch.images), atol=1e-5, rtol=0)
    assert np.array_equal(finished_pixels(batch), batch.images)
