"""Matching: torchvision's result on random and awkward objects, Caffe's bipartite rule, padding, and no objects."""

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import SSDMatcher
from torchvision.ops import box_iou

from multibox.boxes import matching
from multibox.boxes.coding import to_centers, to_corners
from multibox.boxes.matching import match
from multibox.boxes.priors import make_priors
from multibox.spec import MatchingSpec
from multibox.zoo import load_spec

SPEC = load_spec("ssd300_vgg16.torchvision_coco")
PRIORS = make_priors(SPEC.priors, (300, 300), [(n, n) for n in (38, 19, 10, 5, 3, 1)])
RULES = [
    MatchingSpec(),
    MatchingSpec(inclusive=False),
    MatchingSpec(iou=0.35),
    MatchingSpec(best_prior="none"),
    MatchingSpec(iou_eps=1e-5),
]


def objects(n: int, g: int, seed: int) -> Tensor:
    """Objects of all sizes: some larger than the image, some below a pixel, some outside, some twice."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(n, g, 2, generator=generator) * 1.4 - 0.2
    side = torch.rand(n, g, 2, generator=generator) ** 2 + 0.002
    boxes = torch.cat([centre - side / 2, centre + side / 2], dim=-1)
    boxes[:, g // 2] = boxes[:, 0]
    return boxes


def torchvisions(boxes: Tensor, valid: Tensor, priors: Tensor) -> Tensor:
    """torchvision's matches with -1 for images without objects, numbered as in the padded batch."""
    rows = []
    for image, mask in zip(boxes, valid, strict=True):
        row = torch.full((len(priors),), -1)
        if mask.any():
            found = SSDMatcher(0.5)(box_iou(image[mask] * 300, to_corners(priors) * 300))
            row = torch.where(found >= 0, mask.nonzero()[:, 0][found.clamp(min=0)], -1)
        rows.append(row)
    return torch.stack(rows)


@pytest.mark.parametrize("seed", range(5))
def test_matches_are_torchvisions(seed: int) -> None:
    boxes = objects(6, 12, seed)
    valid = torch.rand(6, 12, generator=torch.Generator().manual_seed(seed)) < 0.7
    valid[0] = False
    assert torch.equal(match(boxes, valid, PRIORS, SPEC.matching, (300, 300)), torchvisions(boxes, valid, PRIORS))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(5))
def test_searching_few_pairs_gives_what_comparing_all_gives(rule: MatchingSpec, seed: int) -> None:
    boxes, valid = objects(4, 9, seed), torch.rand(4, 9) < 0.8
    all_pairs = matching._match_densely(boxes, valid, to_corners(PRIORS), rule)
    assert torch.equal(match(boxes, valid, PRIORS, rule), all_pairs)


def test_priors_without_any_grid_are_matched_as_well() -> None:
    priors = to_centers(objects(1, 500, 7)[0])
    boxes, valid = objects(3, 5, 8), torch.ones(3, 5, dtype=torch.bool)
    assert torch.equal(match(boxes, valid, priors, RULES[0]), torchvisions(boxes, valid, priors))


def test_objects_that_are_priors_exactly_get_them() -> None:
    chosen = torch.tensor([3, 4000, 8000, 8731])
    boxes = to_corners(PRIORS[chosen])[None]
    assert match(boxes, torch.ones(1, 4, dtype=torch.bool), PRIORS, RULES[0])[0, chosen].tolist() == [0, 1, 2, 3]


def test_every_object_has_a_prior_even_below_the_threshold() -> None:
    boxes = torch.tensor([[[0.5, 0.5, 0.505, 0.505], [0.1, 0.1, 0.9, 0.11], [2.0, 2.0, 3.0, 3.0]]])
    matches = match(boxes, torch.ones(1, 3, dtype=torch.bool), PRIORS, RULES[0])
    assert set(matches.unique().tolist()) == {-1, 0, 1, 2}


def test_of_two_objects_with_the_same_best_prior_the_later_wins() -> None:
    box = torch.tensor([0.4, 0.4, 0.6, 0.6])
    matches = match(box.expand(1, 2, 4), torch.ones(1, 2, dtype=torch.bool), PRIORS, RULES[0])
    best = box_iou(box[None], to_corners(PRIORS)).argmax()
    assert matches[0, best].item() == 1 and (matches == 0).any()


@pytest.mark.parametrize("iou", [0.5, 0.9])  # with and without priors above the threshold
def test_or_the_first_wins_where_the_rule_says_so(iou: float) -> None:
    box = torch.tensor([0.4, 0.4, 0.6, 0.6])
    boxes, valid = torch.stack([box + 0.001, box])[None], torch.ones(1, 2, dtype=torch.bool)
    best = box_iou(boxes[0], to_corners(PRIORS)).argmax(dim=1)
    assert best[0] == best[1]
    for contested, keeper in (("first", 0), ("last", 1)):
        rule = MatchingSpec(iou=iou, contested=contested)
        matches = match(boxes, valid, PRIORS, rule)
        assert matches[0, best[0]].item() == keeper
        assert torch.equal(matches, matching._match_densely(boxes, valid, to_corners(PRIORS), rule))


def test_bipartite_gives_each_object_a_prior_of_its_own_best_pair_first() -> None:
    priors = to_centers(torch.tensor([[0.0, 0.0, 0.2, 0.2], [0.1, 0.1, 0.3, 0.3], [0.7, 0.7, 0.9, 0.9]]))
    boxes = torch.tensor([[[0.02, 0.02, 0.22, 0.22], [0.0, 0.0, 0.2, 0.2]], [[0.7, 0.7, 0.9, 0.9], [5, 5, 6, 6.0]]])
    rule = MatchingSpec(best_prior="bipartite", iou=0.9)
    matches = match(boxes, torch.ones(2, 2, dtype=torch.bool), priors, rule)
    assert matches.tolist() == [[1, 0, -1], [-1, -1, 0]]


def test_ties_below_the_threshold_learn_the_object_too_where_the_rule_says_so() -> None:
    corners = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 0.75, 0.75], [0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    box, valid = torch.tensor([[[0.25, 0.25, 0.5, 0.5], [5.0, 5.0, 6.0, 6.0]]]), torch.tensor([[True, True]])
    for best_prior, wanted in (("none", [0, 0, -1, -1]), ("bipartite", [0, 0, -1, -1])):
        rule = MatchingSpec(best_prior=best_prior, ties=True)
        assert match(box, valid, to_centers(corners), rule).tolist() == [wanted], best_prior
    alone = MatchingSpec(best_prior="bipartite")
    assert match(box, valid, to_centers(corners), alone).tolist() == [[0, -1, -1, -1]]


def test_a_prior_ties_for_its_own_best_object_only() -> None:
    # the second prior is as good for the first object as the first prior is, but better for the second object
    corners = torch.tensor([[0.0, 0.0, 0.4, 1.0], [0.2, 0.0, 0.6, 1.0]])
    boxes = torch.tensor([[[0.2, 0.0, 0.4, 1.0], [0.2, 0.0, 0.6, 0.9]]])
    rule = MatchingSpec(best_prior="none", ties=True, iou=0.95)
    assert match(boxes, torch.ones(1, 2, dtype=torch.bool), to_centers(corners), rule).tolist() == [[0, 1]]


@pytest.mark.parametrize("best_prior", ["per_object", "bipartite", "none"])
def test_without_objects_all_is_background(best_prior: str) -> None:
    rule = MatchingSpec(best_prior=best_prior)
    assert match(torch.empty(2, 0, 4), torch.empty(2, 0, dtype=torch.bool), PRIORS, rule).tolist() == [[-1] * 8732] * 2
    padding = match(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool), PRIORS, rule)
    assert (padding == -1).all()


def test_an_overlap_equal_to_the_threshold_counts_only_where_inclusive() -> None:
    priors = to_centers(torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]]))
    box, valid = torch.tensor([[[0.0, 0.0, 0.5, 1.0]]]), torch.ones(1, 1, dtype=torch.bool)
    assert match(box, valid, priors, MatchingSpec()).tolist() == [[0, 0]]
    assert match(box, valid, priors, MatchingSpec(inclusive=False)).tolist() == [[-1, 0]]
