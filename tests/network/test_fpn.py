"""The pyramid gives one map per level, from fine to coarse, and its upsampling is TensorFlow's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multibox.network.fpn import FPN, upsample_bilinear, upsample_nearest
from multibox.spec import FpnSpec, NormSpec

_LITE = FpnSpec(channels=16, extra_levels=2, separable=True, carry="smoothed")
_MINDCV = FpnSpec(channels=16, extra_levels=2, separable=False, upsample="bilinear", smooth_last=True)


def _taps(sides: tuple[int, ...] = (40, 20, 10)) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 8 * (i + 1), side, side) for i, side in enumerate(sides)]


def _fpn(spec: FpnSpec) -> FPN:
    torch.manual_seed(1)
    return FPN(spec, [8, 16, 24], NormSpec()).eval()


@pytest.mark.parametrize("spec", [_LITE, _MINDCV])
@pytest.mark.parametrize("sides", [(40, 20, 10, 5, 3), (38, 19, 10, 5, 3)])
def test_every_level_has_the_pyramids_width_and_half_the_size(spec: FpnSpec, sides: tuple[int, ...]) -> None:
    fpn = _fpn(spec)
    maps = fpn(_taps(sides[:3]))
    assert [tuple(level.shape) for level in maps] == [(2, 16, side, side) for side in sides]
    assert fpn.channels == [16] * 5


def test_the_coarsest_lateral_map_is_smoothed_only_where_the_spec_says_so() -> None:
    taps = _taps()
    raw = _fpn(_LITE)
    assert torch.equal(raw(taps)[2], raw.laterals[2](taps[2]))
    smoothed = _fpn(_MINDCV)
    assert torch.equal(smoothed(taps)[2], smoothed.smooths[2](smoothed.laterals[2](taps[2])))


def test_what_is_carried_to_the_finer_level_is_the_sum_or_the_smoothed_sum() -> None:
    taps = _taps()
    for carry in ("sum", "smoothed"):
        fpn = _fpn(replace(_LITE, carry=carry))
        total = fpn.laterals[1](taps[1]) + upsample_nearest(fpn.laterals[2](taps[2]), (20, 20))
        carried = total if carry == "sum" else fpn.smooths[1](total)
        finest = fpn.smooths[0](fpn.laterals[0](taps[0]) + upsample_nearest(carried, (40, 40)))
        assert torch.allclose(fpn(taps)[0], finest, atol=1e-6)


def test_an_even_side_is_padded_at_the_far_end_only() -> None:
    fpn = _fpn(_MINDCV)
    last = fpn(_taps())[2]
    conv, norm, act = fpn.extras[0]
    assert isinstance(conv, nn.Conv2d)
    by_hand = act(norm(F.conv2d(F.pad(last, (0, 1, 0, 1)), conv.weight, stride=2)))
    assert torch.allclose(fpn(_taps())[3], by_hand, atol=1e-6)


def test_bilinear_doubling_keeps_cells_halves_the_way_between_them_and_repeats_the_last() -> None:
    row = torch.tensor([1.0, 3.0, 7.0]).reshape(1, 1, 1, 3).expand(1, 1, 3, 3)
    doubled = upsample_bilinear(row, (6, 6))
    assert torch.allclose(doubled[0, 0, 2], torch.tensor([1.0, 2.0, 3.0, 5.0, 7.0, 7.0]))
    assert torch.allclose(upsample_bilinear(row.mT, (5, 6))[0, 0, :, 0], torch.tensor([1.0, 2.0, 3.0, 5.0, 7.0]))


def test_nearest_doubling_repeats_every_cell() -> None:
    cells = torch.arange(4.0).reshape(1, 1, 2, 2)
    assert upsample_nearest(cells, (3, 4))[0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3]]


@pytest.mark.parametrize("spec", [_LITE, _MINDCV])
def test_backbones_that_round_halves_down_are_taken_too(spec: FpnSpec) -> None:
    maps = _fpn(spec)(_taps((37, 18, 9)))
    assert [level.shape[-1] for level in maps] == [37, 18, 9, 5, 3]
    coarse = torch.arange(9.0).reshape(1, 1, 3, 3)
    fitted = upsample_nearest(coarse, (7, 5))
    assert fitted.shape[-2:] == (7, 5)
    assert torch.equal(fitted[..., 6, :], fitted[..., 5, :])
