"""Accumulated batches learn what the joint batch learns."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from multibox.errors import UsageError
from multibox.training.feed.loader import EpochSampler
from multibox.training.kept.results_table import read_rows
from multibox.training.train import train
from multibox.weights.checkpoint import load


def change(options, **words) -> dict[str, torch.Tensor]:
    """The weights after an epoch, statistics of batch norms held, as those depend on the batch."""
    result = train(replace(options, epochs=1, ema=0.0, val_split="none", warmup_epochs=0.0, freeze_norms=True, **words))
    assert read_rows(result.folder / "results.csv")[0]["step"] == 2
    return load(result.weights).state


def distance(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    return max(float((one[key] - two[key]).abs().max()) for key in one if one[key].is_floating_point())


@pytest.mark.slow
@pytest.mark.parametrize("normalizer", ["positives", "positives_per_image"])
def test_two_batches_of_four_equal_one_of_eight_whatever_objects_each_has(options, tmp_path, normalizer):
    sheet = tmp_path / "sheet.toml"
    table = f'[loss]\nnormalizer = "{normalizer}"\n\n[postprocess]'
    sheet.write_text(Path(options.model).read_text().replace("[postprocess]", table))
    # mining is left out: at the start many negatives are equally hard, and rounding decides which of them learn
    small = replace(options, model=str(sheet), lr0=0.01, clip_grad=1.0, class_loss="focal")
    joint = change(small, batch=8)
    assert distance(joint, change(small, batch=4, accumulate=2)) < 1e-5
    assert distance(joint, change(small, batch=8, augment=False)) > 1e-3


def test_an_epoch_has_whole_steps_only_of_the_images_that_the_joint_batch_sees():
    joint = EpochSampler(50, 0, batch=12)
    parts = EpochSampler(50, 0, batch=4, accumulate=3)
    assert (joint.steps, parts.steps, parts.accumulate) == (4, 12, 3)
    assert list(joint) == list(parts)
    assert EpochSampler(5, 0, batch=2, accumulate=8).accumulate == 2


def test_float16_without_a_gpu_is_refused_in_one_sentence(options):
    with pytest.raises(UsageError, match="amp fp16 needs a CUDA device, and this is 'cpu'"):
        train(replace(options, amp="fp16"))
