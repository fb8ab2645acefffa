"""MobileNeXt has the published sizes, its taps stand where the detector reads them, the extras go on from its end."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from multibox.errors import ModelError
from multibox.network.backbones import make_backbone
from multibox.network.build import build_model
from multibox.network.mobilenext import MobileNeXt, Sandglass
from multibox.spec import BackboneSpec
from multibox.zoo import load_spec

DETECTOR = "ssdlite320_mobilenext.mobilenext_voc"
PUBLISHED = 2_955_088
"""Parameters of the backbone with its extra levels, without heads."""


def _backbone(*taps: str) -> MobileNeXt:
    backbone = make_backbone(BackboneSpec(name="mobilenext", taps=taps))
    assert isinstance(backbone, MobileNeXt)
    return backbone.eval()


def test_backbone_and_extras_have_the_published_number_of_parameters() -> None:
    model = build_model(load_spec(DETECTOR))
    assert model.extras is not None
    assert sum(p.numel() for part in (model.backbone, model.extras) for p in part.parameters()) == PUBLISHED


@torch.no_grad()
def test_taps_are_wide_maps_or_outputs_of_blocks() -> None:
    backbone = _backbone("2", "13.expand", "13", "20.expand", "20")
    maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [(144, 16, 24), (576, 4, 6), (576, 2, 3), (1280, 2, 3), (1280, 2, 3)]
    assert [m.shape[1] for m in maps] == backbone.channels
    for wide in (maps[1], maps[3]):
        assert wide.min().item() == 0.0 and wide.max().item() <= 6.0


def test_blocks_after_the_last_tap_are_left_out() -> None:
    assert len(_backbone("13.expand").features) == 14


@torch.no_grad()
def test_a_block_that_keeps_its_shape_adds_its_input() -> None:
    backbone = _backbone("20")
    added = [i for i, block in enumerate(backbone.features) if isinstance(block, Sandglass) and block.adds_input]
    assert added == [4, 5, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19]
    block = backbone.features[4]
    last_norm = block.layers[-1][1]
    last_norm.weight.zero_()
    x = torch.randn(1, 192, 8, 8)
    assert torch.equal(block(x)[1], x)


@torch.no_grad()
def test_the_extras_go_on_from_the_end_of_the_backbone_which_no_predictor_sees() -> None:
    model = build_model(load_spec(DETECTOR)).eval()
    images = torch.randn(1, 3, 320, 320)
    before = model(images).logits
    model.backbone.features[20].layers[-1][1].bias.add_(1.0)
    changed = (model(images).logits - before).abs().amax(dim=(0, 2)) > 0
    seen = sum(model.level_sizes[:2])
    assert not bool(changed[:seen].any()) and bool(changed[seen:].all())


@pytest.mark.parametrize("tap", ["0", "21", "20.inside", "head", ""])
def test_a_wrong_tap_is_one_sentence(tap: str) -> None:
    with pytest.raises(ModelError, match=f"no tap '{tap}'; give 1 to 20"):
        _backbone(tap)


def test_what_the_backbone_does_not_have_is_refused() -> None:
    plain = BackboneSpec(name="mobilenext", taps=("20",))
    for spec in (replace(plain, padding="same"), replace(plain, width=0.5), replace(plain, activation="relu")):
        with pytest.raises(ModelError, match="one width, torch's padding and ReLU6"):
            make_backbone(spec)
    with pytest.raises(ModelError, match="no published ImageNet weights"):
        make_backbone(plain, pretrained=True)
