"""VGG16 as a backbone: published weights mean the same for every sheet's input."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from multibox.network import backbones
from multibox.network.build import build_model
from multibox.network.normalize import Normalize
from multibox.network.vgg import VGG16Atrous
from multibox.spec import BackboneSpec
from multibox.zoo import load_spec


def _features(name: str, tag: str) -> dict[str, Tensor]:
    """Numbers in place of the published ones, under their keys."""
    assert (name, tag) == ("vgg16", "IMAGENET1K_FEATURES")
    layers = VGG16Atrous(BackboneSpec(name="vgg16_atrous", taps=("conv4_3", "fc7"))).layers[:29].state_dict()
    generator = torch.Generator().manual_seed(0)
    return {key: torch.rand(value.shape, generator=generator) for key, value in layers.items()}


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("std", [(1.0, 1.0, 1.0), (58.395, 57.12, 57.375)])
def test_imagenet_weights_see_the_same_pixels_whatever_the_sheet_makes_of_them(
    monkeypatch: pytest.MonkeyPatch, color: str, std: tuple[float, float, float]
) -> None:
    monkeypatch.setattr(backbones, "_published_features", _features)
    plain = load_spec("ssd300_vgg16").with_names(("thing",))
    mean = plain.input.mean if color == "rgb" else plain.input.mean[::-1]
    other = replace(plain, input=replace(plain.input, color=color, std=std, mean=mean))
    pixels = torch.randint(0, 256, (1, 8, 8, 3), dtype=torch.uint8)
    first, second = (
        build_model(spec, pretrained_backbone=True).backbone.layers[0](Normalize(spec.input)(pixels))
        for spec in (plain, other)
    )
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-2)
