"""One tower and one pair of predictors serve all levels; only batch norms belong to a level."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from multibox.errors import ModelError
from multibox.network.shared_head import SharedHead
from multibox.spec import HeadSpec, NormSpec

_ONE_TOWER = HeadSpec(kind="shared", tower_depth=2, tower_channels=16, separable_tower=True, shared_tower=True)
_TWO_TOWERS = HeadSpec(kind="shared", tower_depth=2, tower_channels=16, prior_probability=0.01)
_SIDES = (6, 3, 2)


def _head(spec: HeadSpec, columns: int = 5) -> SharedHead:
    """A head with weights large enough for its rows to differ visibly."""
    torch.manual_seed(0)
    head = SharedHead(spec, [8, 8, 8], [2, 2, 2], columns, NormSpec()).eval()
    with torch.no_grad():
        for module in head.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.mul_(50)
    return head


def _maps() -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(2, 8, side, side) for side in _SIDES]


@pytest.mark.parametrize("spec", [_ONE_TOWER, _TWO_TOWERS])
def test_every_prior_has_a_row_of_logits_and_four_offsets(spec: HeadSpec) -> None:
    logits, offsets = _head(spec)(_maps())
    priors = 2 * sum(side * side for side in _SIDES)
    assert logits.shape == (2, priors, 5) and offsets.shape == (2, priors, 4)


def test_rows_are_ordered_by_level_then_row_then_cell_then_shape() -> None:
    head, maps = _head(_ONE_TOWER), _maps()
    logits = head(maps).logits
    level = head.class_predictor(head.class_tower(maps)[1])  # [2, shapes * columns, 3, 3]
    row, cell, shape = 2, 1, 1
    index = 2 * _SIDES[0] ** 2 + (row * _SIDES[1] + cell) * 2 + shape
    assert torch.allclose(logits[0, index], level[0, shape * 5 : (shape + 1) * 5, row, cell], atol=1e-6)


def test_equal_maps_give_equal_rows_until_a_levels_norm_says_otherwise() -> None:
    head = _head(_ONE_TOWER)
    maps = [_maps()[1]] * 3
    first, second, _ = head(maps).logits.split(2 * 9, dim=1)
    assert torch.equal(first, second)
    with torch.no_grad():
        head.class_tower.norms[1][0].weight.mul_(2)  # type: ignore[index,union-attr]
    first, second, third = head(maps).logits.split(2 * 9, dim=1)
    assert torch.equal(first, third) and not torch.allclose(first, second)


def test_one_tower_feeds_both_predictors_or_each_has_its_own() -> None:
    assert _head(_ONE_TOWER).box_tower is None
    two = _head(_TWO_TOWERS)
    assert two.box_tower is not None and two.box_tower is not two.class_tower


def test_classes_start_at_the_prior_probability() -> None:
    scores = _head(_TWO_TOWERS)([torch.zeros(1, 8, side, side) for side in _SIDES]).logits.sigmoid()
    assert torch.allclose(scores, torch.full_like(scores, 0.01), atol=1e-4)


def test_levels_that_differ_in_channels_or_shapes_are_refused() -> None:
    with pytest.raises(ModelError, match="equal channels and shapes per cell"):
        SharedHead(_ONE_TOWER, [8, 16], [2, 2], 5, NormSpec())
    with pytest.raises(ModelError, match="equal channels and shapes per cell"):
        SharedHead(_ONE_TOWER, [8, 8], [2, 3], 5, NormSpec())
