"""Contested priors, and objects that no prior would learn."""

import pytest
import torch

from multibox.boxes.assignment import inside, keep_all, settle

ROW = torch.tensor([[0.0, 0.0, 0.2, 0.2], [0.2, 0.0, 0.4, 0.2], [0.4, 0.0, 0.6, 0.2], [0.6, 0.0, 0.8, 0.2]])
"""Four priors side by side."""


def test_a_contested_prior_goes_to_the_object_of_highest_iou_the_first_of_equals() -> None:
    cell, obj = torch.tensor([0, 0, 5, 3, 3]), torch.tensor([2, 1, 0, 1, 0])
    iou = torch.tensor([0.4, 0.6, 0.1, 0.5, 0.5])
    assert settle(cell, obj, iou, (2, 3)).tolist() == [[1, -1, -1], [0, -1, 0]]


def test_a_point_on_the_edge_is_not_inside() -> None:
    box = torch.tensor([[0.0, 0.0, 0.5, 0.5]])
    points = torch.tensor([[0.25, 0.25], [0.0, 0.25], [0.25, 0.5], [0.6, 0.2]])
    assert inside(points, box).tolist() == [True, False, False, False]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_equal_objects_all_get_a_prior_of_their_own(count: int) -> None:
    matches = torch.full((1, 4), -1)
    keep_all(matches, ROW[1].expand(1, count, 4), torch.ones(1, count, dtype=torch.bool), ROW)
    assert sorted(matches[matches >= 0].tolist()) == list(range(count))
    assert matches[0, 1].item() == 0


def test_a_lost_object_takes_from_who_has_more_and_never_the_only_prior() -> None:
    boxes = torch.stack([ROW[0], ROW[1], ROW[0]])[None]
    rich = torch.tensor([[0, 0, 1, -1]])
    keep_all(rich, boxes, torch.ones(1, 3, dtype=torch.bool), ROW)
    assert rich.tolist() == [[2, 0, 1, -1]]
    poor = torch.tensor([[0, 1, -1, -1]])
    keep_all(poor, boxes, torch.ones(1, 3, dtype=torch.bool), ROW)
    assert poor[0, :2].tolist() == [0, 1] and (poor == 2).sum() == 1


def test_two_lost_objects_never_take_both_priors_of_a_third() -> None:
    boxes = torch.stack([ROW[0], ROW[0], ROW[1]])[None]
    matches = torch.tensor([[0, 0, -1, -1]])
    keep_all(matches, boxes, torch.ones(1, 3, dtype=torch.bool), ROW)
    assert set(matches[0].tolist()) >= {0, 1, 2}


def test_images_and_padding_stay_apart() -> None:
    boxes, valid = ROW[None, :2].expand(2, 2, 4), torch.tensor([[True, False], [False, True]])
    matches = torch.full((2, 4), -1)
    keep_all(matches, boxes, valid, ROW)
    assert matches.tolist() == [[0, -1, -1, -1], [-1, 1, -1, -1]]


def test_more_objects_than_priors_end_with_every_prior_taken_once() -> None:
    matches = torch.full((1, 4), -1)
    keep_all(matches, ROW.repeat(2, 1)[None], torch.ones(1, 8, dtype=torch.bool), ROW)
    assert len(set(matches[0].tolist())) == 4 and (matches >= 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_however_crowded_no_object_is_left(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(60, 4, generator=generator) * 0.3
    corners[:, 2:] += corners[:, :2] + 0.05
    boxes = corners[torch.randint(0, 6, (3, 40), generator=generator)]
    valid = torch.rand(3, 40, generator=generator) < 0.9
    matches = torch.where(torch.rand(3, 60, generator=generator) < 0.3, 1, -1)
    matches[~valid[:, 1]] = -1
    keep_all(matches, boxes, valid, corners)
    for row, there in zip(matches, valid, strict=True):
        assert set(row[row >= 0].tolist()) == set(there.nonzero()[:, 0].tolist())
