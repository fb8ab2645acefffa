"""Predictors with a stride say of every such cell what those without say of it; priors stand on those cells alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.spec import ModelSpec
from multibox.zoo import load_spec


def _spec(stride: int) -> ModelSpec:
    spec = load_spec("ssd300_resnet18").with_names(("cat", "dog"))
    return replace(spec, head=replace(spec.head, stride=stride))


@torch.no_grad()
def test_strided_predictors_are_the_plain_ones_on_every_third_cell() -> None:
    plain, strided = build_model(_spec(1)).eval(), build_model(_spec(3)).eval()
    strided.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 300, 300)
    assert strided.level_sizes == tuple(
        side * side * shapes for side, shapes in zip((13, 7, 4, 2, 1, 1), (4, 6, 6, 6, 4, 4), strict=True)
    )
    sides = (38, 19, 10, 5, 3, 1)
    answers = (model(images).logits[0].split(model.level_sizes) for model in (plain, strided))
    for side, every, some in zip(sides, *answers, strict=True):
        wanted = every.reshape(side, side, -1)[::3, ::3]
        assert torch.allclose(some.reshape(wanted.shape), wanted, atol=1e-5)


def test_priors_share_the_input_among_the_cells_that_are_left() -> None:
    spec = _spec(3)
    levels = tuple(replace(level, step=None) for level in spec.priors.levels)
    priors = build_model(replace(spec, priors=replace(spec.priors, levels=levels))).priors
    assert priors[0, :2].tolist() == pytest.approx([0.5 / 13] * 2)


@pytest.mark.parametrize(
    ("kind", "stride", "words"),
    [("separable", 2, "head.stride = 2 has no meaning for head 'separable'"), ("conv", 0, "head.stride is 0; it is 1")],
)
def test_a_stride_that_a_head_cannot_have_is_refused(kind: str, stride: int, words: str) -> None:
    spec = _spec(1)
    with pytest.raises(ModelError, match=words):
        build_model(replace(spec, head=replace(spec.head, kind=kind, stride=stride)))  # type: ignore[arg-type]
