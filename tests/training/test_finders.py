"""The finders suggest what a training can use, and keep nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from multibox.errors import UsageError
from multibox.training.finders import find_batch, find_rate
from multibox.training.options import TrainOptions


@pytest.mark.slow
def test_the_rate_is_one_at_which_the_loss_falls(options: TrainOptions):
    found = find_rate(replace(options, ema=0.0))
    assert 1e-5 < found.suggestion < 1.0
    at = found.rates.index(found.suggestion)
    assert min(found.losses) < found.losses[at] < 1.2 * found.losses[0]
    assert len(found.rates) == len(found.losses) > 30
    assert Image.open(found.plot).size[0] > 100
    assert [each.name for each in Path(options.project).iterdir()] == ["find_lr.png"]


def test_the_batch_is_the_largest_power_of_two_that_fits(options: TrainOptions):
    tried = []

    def fits(setup: object, size: int) -> bool:
        tried.append(size)
        return size <= 4

    assert find_batch(options, fits) == 4
    assert tried == [2, 4, 8]
    assert find_batch(options, lambda *_: True) == 16  # there are no more images


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_batch_finder_says_so(options: TrainOptions):
    with pytest.raises(UsageError, match="--find-batch fills a GPU's memory, and there is none; give --batch"):
        find_batch(options)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_the_batch_that_is_found_trains(options: TrainOptions):
    assert find_batch(replace(options, device="cuda")) >= 8
