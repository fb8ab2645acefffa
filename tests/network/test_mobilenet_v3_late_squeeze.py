"""The MobileNetV3 that squeezes late has the published sizes, and its blocks keep the laws of inverted residuals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from multibox.errors import ModelError
from multibox.network.backbones import make_backbone
from multibox.network.mobilenet_v3_late_squeeze import MobileNetV3LateSqueeze
from multibox.spec import BackboneSpec

LARGE, SMALL = "mobilenet_v3_large_late_squeeze", "mobilenet_v3_small_late_squeeze"


def _backbone(name: str, *taps: str) -> MobileNetV3LateSqueeze:
    backbone = make_backbone(BackboneSpec(name=name, taps=taps))
    assert isinstance(backbone, MobileNetV3LateSqueeze)
    return backbone.eval()


@pytest.mark.parametrize(
    ("name", "taps", "shapes"),
    [
        (LARGE, ("3", "6", "12", "16"), [(24, 16, 24), (40, 8, 12), (112, 4, 6), (960, 2, 3)]),
        (SMALL, ("1", "3", "8", "12"), [(16, 16, 24), (24, 8, 12), (48, 4, 6), (576, 2, 3)]),
    ],
)
@torch.no_grad()
def test_taps_are_the_outputs_of_numbered_blocks(
    name: str, taps: tuple[str, ...], shapes: list[tuple[int, int, int]]
) -> None:
    backbone = _backbone(name, *taps)
    maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == shapes
    assert [m.shape[1] for m in maps] == backbone.channels


def test_blocks_after_the_last_tap_are_left_out() -> None:
    assert len(_backbone(LARGE, "12").blocks) == 12


@torch.no_grad()
def test_blocks_at_stride_1_add_their_input_through_a_convolution_where_channels_change() -> None:
    blocks = _backbone(LARGE, "16").blocks
    assert [i for i, block in enumerate(blocks[:15], 1) if not block.adds_input] == [2, 4, 7, 14]
    assert [i for i, block in enumerate(blocks[:15], 1) if isinstance(block.shortcut, torch.nn.Sequential)] == [11, 13]
    block = blocks[4]
    block.project[1].weight.zero_()
    x = torch.randn(1, 40, 8, 8)
    assert torch.equal(block(x), x)


@torch.no_grad()
def test_the_gate_weighs_whole_channels_of_the_projection() -> None:
    block = _backbone(LARGE, "16").blocks[3]
    x = torch.randn(2, 24, 8, 8)
    projected = block.project(block.depthwise(block.expand(x)))
    gate = block.gate(projected)
    assert gate.shape == (2, 40, 1, 1) and 0 <= gate.min().item() <= gate.max().item() <= 1
    assert torch.equal(block(x), projected * gate)


@pytest.mark.parametrize("tap", ["0", "17", "12.expand", ""])
def test_a_wrong_tap_is_one_sentence(tap: str) -> None:
    with pytest.raises(ModelError, match="taps are block numbers from 1 to 16"):
        _backbone(LARGE, tap)


def test_what_the_backbone_does_not_have_is_refused() -> None:
    plain = BackboneSpec(name=SMALL, taps=("12",))
    for spec in (replace(plain, padding="same"), replace(plain, width=0.5), replace(plain, activation="relu")):
        with pytest.raises(ModelError, match="one width, torch's padding and activations of its own"):
            make_backbone(spec)
    with pytest.raises(ModelError, match="no published ImageNet weights"):
        make_backbone(plain, pretrained=True)
