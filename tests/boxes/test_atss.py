"""ATSS: the rule as a plain loop, a prior for every object, and what must not matter."""

import statistics
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from multibox.boxes.atss import match_atss
from multibox.boxes.coding import to_corners
from multibox.boxes.priors import make_priors, shapes_per_cell
from multibox.zoo import load_spec

SPEC = load_spec("ssd300_vgg16.torchvision_coco")
SIZE = (300, 500)
"""Height and width: pixels, in which distances are measured, are no fractions here."""
MAPS = [(12, 20), (6, 10), (3, 5), (2, 3), (1, 2), (1, 1)]
LAYOUT = replace(SPEC.priors, levels=tuple(replace(level, step=None) for level in SPEC.priors.levels))
PRIORS = make_priors(LAYOUT, SIZE, MAPS)
PER_CELL = [shapes_per_cell(level) for level in SPEC.priors.levels]
LEVELS = [(h * w * shapes, shapes) for (h, w), shapes in zip(MAPS, PER_CELL, strict=True)]


def objects(n: int, g: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random boxes of all sizes, and which of them there are."""
    generator = torch.Generator().manual_seed(seed)
    center, side = torch.rand(n, g, 2, generator=generator), torch.rand(n, g, 2, generator=generator) ** 2 * 0.8 + 0.02
    return torch.cat([center - side / 2, center + side / 2], dim=-1), torch.rand(n, g, generator=generator) < 0.8


def candidates(box: Tensor) -> list[int]:
    """Priors of the nine nearest cells of every level, by sorting all of them."""
    x, y = ((box[0] + box[2]) / 2 * SIZE[1]).item(), ((box[1] + box[3]) / 2 * SIZE[0]).item()
    found, first = [], 0
    for size, shapes in LEVELS:
        starts = range(first, first + size, shapes)
        center = {at: (PRIORS[at, 0].item() * SIZE[1], PRIORS[at, 1].item() * SIZE[0]) for at in starts}
        near = sorted(starts, key=lambda at: (center[at][0] - x) ** 2 + (center[at][1] - y) ** 2)[:9]
        found += [at + shape for at in near for shape in range(shapes)]
        first += size
    return found


def plain_loop(boxes: Tensor, valid: Tensor) -> tuple[list[int], set[int]]:
    """Matches of one image by the paper's text, and the objects that no prior learns."""
    iou = box_iou(boxes, to_corners(PRIORS)).tolist()
    matches, held = [-1] * len(PRIORS), [0.0] * len(PRIORS)
    for number in valid.nonzero()[:, 0].tolist():
        near = candidates(boxes[number])
        overlaps = [iou[number][at] for at in near]
        threshold = statistics.mean(overlaps) + statistics.stdev(overlaps)
        left, top, right, bottom = boxes[number].tolist()
        for at, overlap in zip(near, overlaps, strict=True):
            x, y = PRIORS[at, :2].tolist()
            if overlap >= threshold and left < x < right and top < y < bottom and overlap > held[at]:
                matches[at], held[at] = number, overlap
    return matches, set(valid.nonzero()[:, 0].tolist()) - set(matches)


@pytest.mark.parametrize("seed", range(6))
def test_matches_are_those_of_a_plain_loop(seed: int) -> None:
    boxes, valid = objects(2, 5, seed)
    for row, image, there in zip(match_atss(boxes, valid, PRIORS, LEVELS, SIZE), boxes, valid, strict=True):
        wanted, lost = plain_loop(image, there)
        differing = [(new, old) for new, old in zip(row.tolist(), wanted, strict=True) if new != old]
        assert sorted(new for new, _ in differing) == sorted(lost)


@pytest.mark.parametrize("seed", range(3))
def test_every_object_has_a_prior(seed: int) -> None:
    boxes, valid = objects(3, 12, seed)
    boxes[:, 3] = boxes[:, 4] = boxes[:, 5]  # the same object three times
    boxes[:, 6] = torch.tensor([0.501, 0.501, 0.503, 0.503])  # smaller than any prior
    boxes[:, 7] = torch.tensor([2.0, 2.0, 3.0, 3.0])  # outside
    for row, there in zip(match_atss(boxes, valid, PRIORS, LEVELS, SIZE), valid, strict=True):
        assert set(row[row >= 0].tolist()) == set(there.nonzero()[:, 0].tolist())


def test_the_threshold_is_the_objects_own() -> None:
    fitting, odd = to_corners(PRIORS[900:901]), torch.tensor([[0.4, 0.1, 0.43, 0.9]])
    boxes = torch.cat([fitting, odd])[None]
    matches = match_atss(boxes, torch.ones(1, 2, dtype=torch.bool), PRIORS, LEVELS, SIZE)[0]
    iou = box_iou(boxes[0], to_corners(PRIORS))
    assert iou[0, matches == 0].min() > iou[1, matches == 1].max()


def test_padding_and_the_other_images_change_nothing() -> None:
    boxes, valid = objects(3, 6, 1)
    together = match_atss(boxes, valid, PRIORS, LEVELS, SIZE)
    for index in range(3):
        alone = match_atss(boxes[index : index + 1], valid[index : index + 1], PRIORS, LEVELS, SIZE)
        assert torch.equal(alone[0], together[index])
    elsewhere = torch.where(valid[..., None], boxes, 0.0)
    assert torch.equal(match_atss(elsewhere, valid, PRIORS, LEVELS, SIZE), together)


@pytest.mark.parametrize("g", [0, 3])
def test_without_objects_all_is_background(g: int) -> None:
    none = match_atss(torch.zeros(2, g, 4), torch.zeros(2, g, dtype=torch.bool), PRIORS, LEVELS, SIZE)
    assert none.tolist() == [[-1] * len(PRIORS)] * 2


def test_many_objects_in_parts_are_matched_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, valid = objects(2, 9, 3)
    whole = match_atss(boxes, valid, PRIORS, LEVELS, SIZE)
    monkeypatch.setattr("multibox.boxes.assignment._PAIRS", 1000)
    assert torch.equal(match_atss(boxes, valid, PRIORS, LEVELS, SIZE), whole)
