"""SqueezeNet as a backbone: its taps, how its poolings round, and ImageNet weights under torchvision's keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
import torchvision

from multibox.errors import ModelError
from multibox.network.backbones import make_backbone
from multibox.network.squeezenet import SqueezeNet
from multibox.spec import BackboneSpec

SPEC = BackboneSpec(name="torchvision/squeezenet1_1", taps=("4", "11", "12"), pool_ceil="all")


def _backbone(spec: BackboneSpec) -> SqueezeNet:
    backbone = make_backbone(spec)
    assert isinstance(backbone, SqueezeNet)
    return backbone.eval()


@pytest.mark.parametrize(("pool_ceil", "cells"), [("none", 17), ("pool3", 18), ("all", 18)])
@torch.no_grad()
def test_poolings_round_as_the_sheet_says(pool_ceil: Literal["none", "pool3", "all"], cells: int) -> None:
    backbone = _backbone(replace(SPEC, pool_ceil=pool_ceil))
    maps = backbone(torch.randn(1, 3, 300, 300))
    assert [m.shape[1] for m in maps] == backbone.channels == [128, 512, 512]
    assert maps[-1].shape[2:] == (cells, cells)


@torch.no_grad()
def test_with_all_poolings_rounded_up_it_is_torchvisions_network() -> None:
    theirs = torchvision.models.squeezenet1_1(weights=None).eval()
    backbone = _backbone(SPEC)
    backbone.load_imagenet(theirs.features.state_dict())
    images = torch.randn(1, 3, 97, 131)
    assert torch.equal(backbone(images)[-1], theirs.features(images))


def test_layers_after_the_last_tap_are_left_out() -> None:
    backbone = _backbone(replace(SPEC, taps=("4",)))
    assert len(backbone.features) == 5
    backbone.load_imagenet(torchvision.models.squeezenet1_1(weights=None).features.state_dict())


@pytest.mark.parametrize("taps", [("5",), ("13",), ("12.expand",), ()])
def test_a_wrong_tap_is_one_sentence(taps: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match="has the taps 3, 4, 6, 7, 9, 10, 11, 12, not"):
        _backbone(replace(SPEC, taps=taps))


def test_what_the_backbone_does_not_have_is_refused() -> None:
    for spec in (replace(SPEC, padding="same"), replace(SPEC, width=0.5), replace(SPEC, activation="relu6")):
        with pytest.raises(ModelError, match="one width, torch's padding and ReLU"):
            make_backbone(spec)
