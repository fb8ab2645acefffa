"""Coding: decoding undoes encoding, clamps hold, and the numbers are those of the paper."""

import math

import pytest
import torch
from torch import Tensor

from multibox.boxes.coding import decode, encode, to_centers, to_corners
from multibox.spec import CoderSpec


def random_boxes(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner, side = torch.rand(2, *shape, 2, generator=generator)
    return torch.cat([corner, corner + side * 0.5 + 0.01], dim=-1)


def test_centres_and_corners_undo_each_other() -> None:
    boxes = random_boxes(100)
    assert torch.allclose(to_corners(to_centers(boxes)), boxes, atol=1e-6)


@pytest.mark.parametrize("sides", ["none", "upper", "both"])
def test_decode_undoes_encode(sides: str) -> None:
    coder = CoderSpec(clamp_sides=sides)
    boxes, priors = random_boxes(3, 50), to_centers(random_boxes(50, seed=1))
    assert torch.allclose(decode(encode(boxes, priors, coder), priors, coder), boxes, atol=1e-5)


def test_encode_undoes_decode_for_one_prior() -> None:
    prior, offsets = torch.tensor([[0.5, 0.5, 0.2, 0.4]]), torch.tensor([[1.0, -2.0, 0.5, -0.5]])
    coder = CoderSpec()
    assert torch.allclose(encode(decode(offsets, prior, coder), prior, coder), offsets, atol=1e-5)


def test_no_offset_is_the_prior_itself() -> None:
    priors = to_centers(random_boxes(20))
    assert torch.allclose(decode(torch.zeros(20, 4), priors, CoderSpec()), to_corners(priors), atol=1e-6)


def test_offsets_are_divided_by_the_variances() -> None:
    prior, box = torch.tensor([[0.5, 0.5, 0.2, 0.2]]), torch.tensor([[0.42, 0.4, 0.62, 0.6]])
    assert encode(box, prior, CoderSpec())[0].tolist() == pytest.approx([1.0, 0, 0, 0], abs=1e-4)
    wide = torch.tensor([[0.3, 0.4, 0.7, 0.6]])
    assert encode(wide, prior, CoderSpec())[0, 2].item() == pytest.approx(math.log(2) / 0.2, abs=1e-4)


@pytest.mark.parametrize(("sides", "widest", "narrowest"), [("upper", 1000 / 16, 0.0), ("both", 1000 / 16, 16 / 1000)])
def test_the_clamp_limits_growth_and_where_asked_shrinking(sides: str, widest: float, narrowest: float) -> None:
    coder, prior = CoderSpec(clamp_sides=sides), torch.tensor([[0.5, 0.5, 1.0, 1.0]])
    large = to_centers(decode(torch.full((1, 4), 100.0), prior, coder))
    small = to_centers(decode(torch.full((1, 4), -100.0), prior, coder))
    assert large[0, 2].item() == pytest.approx(widest, rel=1e-5)
    assert small[0, 2].item() == pytest.approx(narrowest, abs=1e-5)


def test_no_priors_give_no_boxes() -> None:
    assert decode(torch.empty(2, 0, 4), torch.empty(0, 4), CoderSpec()).shape == (2, 0, 4)
