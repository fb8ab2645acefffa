"""Task-aligned assignment: the rule as a plain loop, a prior for every object, and how predictions steer it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from multibox.boxes.aligned import IOU_POWER, SCORE_POWER, TOPK, match_aligned
from multibox.boxes.coding import to_corners
from multibox.boxes.priors import make_priors
from multibox.zoo import load_spec

SPEC = load_spec("ssd300_vgg16.torchvision_coco")
LAYOUT = replace(SPEC.priors, levels=tuple(replace(level, step=None) for level in SPEC.priors.levels))
PRIORS = make_priors(LAYOUT, (300, 300), [(12, 12), (6, 6), (3, 3), (2, 2), (1, 1), (1, 1)])
CLASSES = 4


def batch(n: int, g: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Random (boxes, labels, valid), and random (scores, decoded boxes) near the priors."""
    generator = torch.Generator().manual_seed(seed)
    center, side = torch.rand(n, g, 2, generator=generator), torch.rand(n, g, 2, generator=generator) * 0.6 + 0.03
    boxes = torch.cat([center - side / 2, center + side / 2], dim=-1)
    labels = torch.randint(0, CLASSES, (n, g), generator=generator)
    valid = torch.rand(n, g, generator=generator) < 0.8
    scores = torch.rand(n, len(PRIORS), CLASSES, generator=generator)
    moved = PRIORS * (1 + 0.2 * torch.randn(n, len(PRIORS), 4, generator=generator)).clamp(min=0.3)
    return boxes, labels, valid, scores, to_corners(moved)


def plain_loop(boxes: Tensor, labels: Tensor, valid: Tensor, scores: Tensor, decoded: Tensor) -> list[int]:
    """Matches of one image, object by object and prior by prior."""
    iou = box_iou(boxes, decoded).tolist()
    matches, held = [-1] * len(PRIORS), [0.0] * len(PRIORS)
    for number in valid.nonzero()[:, 0].tolist():
        left, top, right, bottom = boxes[number].tolist()
        alignment = {}
        for at, (x, y) in enumerate(PRIORS[:, :2].tolist()):
            if left < x < right and top < y < bottom and iou[number][at] > 0:
                score = scores[at, labels[number]].item()
                alignment[at] = score**SCORE_POWER * iou[number][at] ** IOU_POWER
        for at in sorted(alignment, key=lambda at: -alignment[at])[:TOPK]:
            if iou[number][at] > held[at]:
                matches[at], held[at] = number, iou[number][at]
    return matches


@pytest.mark.parametrize("seed", range(6))
def test_matches_are_those_of_a_plain_loop(seed: int) -> None:
    boxes, labels, valid, scores, decoded = batch(2, 5, seed)
    found = match_aligned(boxes, labels, valid, PRIORS, scores, decoded)
    for index, row in enumerate(found.tolist()):
        wanted = plain_loop(boxes[index], labels[index], valid[index], scores[index], decoded[index])
        lost = set(valid[index].nonzero()[:, 0].tolist()) - set(wanted)
        differing = [(new, old) for new, old in zip(row, wanted, strict=True) if new != old]
        assert sorted(new for new, _ in differing) == sorted(lost)


@pytest.mark.parametrize("seed", range(3))
def test_every_object_has_a_prior(seed: int) -> None:
    boxes, labels, valid, scores, decoded = batch(3, 12, seed)
    boxes[:, 3] = boxes[:, 4] = boxes[:, 5]  # the same object three times
    boxes[:, 6] = torch.tensor([0.501, 0.501, 0.503, 0.503])  # no centre inside
    boxes[:, 7] = torch.tensor([2.0, 2.0, 3.0, 3.0])  # outside
    for row, there in zip(match_aligned(boxes, labels, valid, PRIORS, scores, decoded), valid, strict=True):
        assert set(row[row >= 0].tolist()) == set(there.nonzero()[:, 0].tolist())


def test_an_object_has_at_most_so_many_priors_and_their_centres_lie_inside() -> None:
    boxes, labels, _, scores, decoded = batch(4, 1, 9)
    boxes = boxes.clamp(0.2, 0.7) + torch.tensor([0, 0, 0.3, 0.3])
    matches = match_aligned(boxes, labels, torch.ones(4, 1, dtype=torch.bool), PRIORS, scores, decoded)
    for box, row in zip(boxes[:, 0], matches, strict=True):
        center = PRIORS[row == 0, :2]
        assert 1 <= len(center) <= TOPK
        assert ((center > box[:2]) & (center < box[2:])).all()


def test_priors_that_score_and_place_an_object_well_learn_it() -> None:
    box = torch.tensor([[[0.3, 0.3, 0.7, 0.7]]])
    label, valid = torch.tensor([[2]]), torch.ones(1, 1, dtype=torch.bool)
    scores, decoded = torch.full((1, len(PRIORS), CLASSES), 0.1), to_corners(PRIORS)[None].clone()
    middle = ((PRIORS[:, :2] - 0.5).abs() < 0.1).all(dim=1).nonzero()[:, 0]
    decoded[0, middle[:3]] = box[0, 0]
    scores[0, middle[1], 2] = 0.9
    scores[0, middle[2]] = 0.0
    learnt = match_aligned(box, label, valid, PRIORS, scores, decoded)[0]
    assert learnt[middle[:3]].tolist() == [0, 0, -1]


def test_padding_and_the_other_images_change_nothing() -> None:
    boxes, labels, valid, scores, decoded = batch(3, 6, 1)
    together = match_aligned(boxes, labels, valid, PRIORS, scores, decoded)
    for index in range(3):
        box, label, there, score, place = (each[index : index + 1] for each in (boxes, labels, valid, scores, decoded))
        one = match_aligned(box, label, there, PRIORS, score, place)
        assert torch.equal(one[0], together[index])


@pytest.mark.parametrize("g", [0, 3])
def test_without_objects_all_is_background(g: int) -> None:
    _, _, _, scores, decoded = batch(2, 1, 0)
    labels, valid = torch.zeros(2, g, dtype=torch.long), torch.zeros(2, g, dtype=torch.bool)
    none = match_aligned(torch.zeros(2, g, 4), labels, valid, PRIORS, scores, decoded)
    assert none.tolist() == [[-1] * len(PRIORS)] * 2


def test_many_objects_in_parts_are_matched_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, labels, valid, scores, decoded = batch(2, 9, 3)
    whole = match_aligned(boxes, labels, valid, PRIORS, scores, decoded)
    monkeypatch.setattr("multibox.boxes.assignment._PAIRS", 1000)
    assert torch.equal(match_aligned(boxes, labels, valid, PRIORS, scores, decoded), whole)
