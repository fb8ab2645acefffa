"""Several processes learn from their batches what one learns from the joint batch."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from multibox.boxes.priors import make_priors
from multibox.training.losses.multibox_loss import matched_loss
from multibox.training.losses.rules import rules_for
from multibox.training.processes import group
from multibox.zoo import load_spec
from ranks import in_ranks

SOFTMAX = load_spec("ssd300_vgg16.torchvision_coco").with_names(("a", "b", "c"))
SPECS = {
    f"{activation} {normalizer}": replace(
        SOFTMAX, activation=activation, loss=replace(SOFTMAX.loss, normalizer=normalizer)
    )
    for activation, normalizer in product(("softmax", "sigmoid"), ("positives", "positives_per_image", "images"))
}
LAYOUT = replace(SOFTMAX.priors, levels=tuple(replace(level, step=None) for level in SOFTMAX.priors.levels))
PRIORS = make_priors(LAYOUT, (300, 300), [(3, 3), (2, 2), (1, 1), (1, 1), (1, 1), (1, 1)])
RULES = [("mined", "smooth_l1"), ("focal", "giou"), ("quality_focal", "ciou"), ("varifocal", "diou")]
WHO_HAS_OBJECTS = {"both": (0, 1, 2, 3), "the first alone": (0,), "the second alone": (2, 3), "none": ()}
PER_RANK = 2


def outcome(images: slice, spec_name: str, choice: tuple[str, str], having: tuple[int, ...]) -> list[Tensor]:
    """The two losses of these images of four, and the gradients of what was predicted for them."""
    generator = torch.Generator().manual_seed(0)
    spec = SPECS[spec_name]
    logits = torch.randn(4, len(PRIORS), spec.columns, generator=generator, dtype=torch.float64)[images]
    offsets = torch.randn(4, len(PRIORS), 4, generator=generator, dtype=torch.float64)[images]
    corner, side = torch.rand(4, 3, 2, generator=generator) / 2, torch.rand(4, 3, 2, generator=generator) / 2 + 0.05
    boxes = torch.cat([corner, corner + side], dim=-1)[images]
    labels = torch.randint(0, 3, (4, 3), generator=generator)[images]
    matches = torch.randint(-9, 3, (4, len(PRIORS)), generator=generator).clamp(min=-1)
    matches[[image for image in range(4) if image not in having]] = -1
    predictions = logits.float().requires_grad_(), offsets.float().requires_grad_()
    rules = rules_for(spec, class_loss=choice[0], box_loss=choice[1])
    loss = matched_loss(predictions, matches[images], boxes, labels, PRIORS, spec=spec, rules=rules)
    loss.total.backward()
    return [loss.classification.detach(), loss.localization.detach(), *(each.grad for each in predictions)]


CASES = [
    (spec, choice, having)
    for spec, choice, having in product(SPECS, RULES, WHO_HAS_OBJECTS.values())
    if choice[0] == "mined" or SPECS[spec].loss.normalizer == "positives"
]


def all_outcomes() -> list[list[list[float]]]:
    with group.joined("cpu") as processes:
        images = slice(PER_RANK * processes.rank, PER_RANK * (processes.rank + 1))
        return [[each.tolist() for each in outcome(images, *case)] for case in CASES]


@pytest.fixture(scope="module")
def by_rank() -> list[list[list[Tensor]]]:
    return [[[torch.tensor(each) for each in case] for case in rank] for rank in in_ranks(2, all_outcomes, fresh=True)]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: "-".join(map(str, CASES[number])))
def test_the_mean_over_ranks_is_the_loss_of_the_joint_batch(by_rank, number):
    joint = outcome(slice(0, 4), *CASES[number])
    first, second = (rank[number] for rank in by_rank)
    for place in (0, 1):
        torch.testing.assert_close((first[place] + second[place]) / 2, joint[place])
    for place in (2, 3):  # averaging gradients of weights halves what each rank's predictions contribute
        torch.testing.assert_close(torch.cat([first[place], second[place]]) / 2, joint[place])
