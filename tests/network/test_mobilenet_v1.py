"""MobileNetV1 and its small relatives for faces: sizes, taps, and what the receptive field block sees."""

from __future__ import annotations

import pytest
import torch

from multibox.errors import ModelError
from multibox.network.backbones import make_backbone
from multibox.network.mobilenet_v1 import MobileNetV1
from multibox.network.receptive_field import ReceptiveField
from multibox.spec import BackboneSpec, NormSpec

PAPER_PARAMETERS = 3_206_976
"""MobileNetV1 without its classifier (paper: 4.2 million with the 1,025,000 of the classifier)."""


def _backbone(spec: BackboneSpec) -> MobileNetV1:
    backbone = make_backbone(spec)
    assert isinstance(backbone, MobileNetV1)
    return backbone.eval()


def test_the_network_of_the_paper_has_its_number_of_parameters() -> None:
    backbone = _backbone(BackboneSpec(name="mobilenet_v1", taps=("13",)))
    assert sum(p.numel() for p in backbone.parameters()) == PAPER_PARAMETERS


@pytest.mark.parametrize(
    ("name", "width", "taps", "shapes"),
    [
        ("mobilenet_v1", 1.0, ("5", "11", "13"), [(256, 16, 24), (512, 8, 12), (1024, 4, 6)]),
        ("mobilenet_v1", 0.5, ("5", "11", "13"), [(128, 16, 24), (256, 8, 12), (512, 4, 6)]),
        ("mobilenet_v1_slim", 1.0, ("7", "10", "12"), [(64, 16, 24), (128, 8, 12), (256, 4, 6)]),
        ("mobilenet_v1_rfb", 1.0, ("7", "10", "12"), [(64, 16, 24), (128, 8, 12), (256, 4, 6)]),
    ],
)
@torch.no_grad()
def test_taps_are_the_outputs_of_numbered_blocks(
    name: str, width: float, taps: tuple[str, ...], shapes: list[tuple[int, int, int]]
) -> None:
    backbone = _backbone(BackboneSpec(name=name, taps=taps, width=width))
    maps = backbone(torch.randn(1, 3, 128, 192))
    assert [tuple(m.shape[1:]) for m in maps] == shapes
    assert [m.shape[1] for m in maps] == backbone.channels


def test_only_the_seventh_block_tells_the_two_face_networks_apart() -> None:
    slim, field = (_backbone(BackboneSpec(name=f"mobilenet_v1_{kind}", taps=("12",))) for kind in ("slim", "rfb"))
    kinds = [(type(a), type(b)) for a, b in zip(slim.blocks, field.blocks, strict=True)]
    assert [number for number, (a, b) in enumerate(kinds, 1) if a is not b] == [7]
    assert isinstance(field.blocks[6], ReceptiveField)


@pytest.mark.parametrize("tap", ["0", "14", "head"])
def test_a_wrong_tap_is_one_sentence(tap: str) -> None:
    with pytest.raises(ModelError, match="mobilenet_v1: taps are block numbers from 1 to 13"):
        _backbone(BackboneSpec(name="mobilenet_v1", taps=(tap,)))


@pytest.mark.parametrize(("branch", "reach"), [(0, 3), (1, 4), (2, 7)])
@torch.no_grad()
def test_every_branch_of_a_receptive_field_reaches_as_far_as_its_dilation_says(branch: int, reach: int) -> None:
    torch.manual_seed(0)
    layers = ReceptiveField(64, NormSpec()).eval().branches[branch]
    for layer in layers.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.abs_()  # so that nothing is lost in an activation
    x = torch.ones(1, 64, 31, 31)
    other = x.clone()
    other[..., 15, 15] += 1
    changed = ((layers(x) - layers(other)).abs().amax(dim=(0, 1)) > 0).nonzero() - 15
    assert changed.abs().max().item() == reach
