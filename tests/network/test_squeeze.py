"""Squeeze and excitation: its width, and its place before or after the activation of the depthwise convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from multibox.errors import ModelError
from multibox.network.backbones import make_backbone
from multibox.network.build import build_model
from multibox.network.squeeze import squeezed
from multibox.spec import BackboneSpec
from multibox.zoo import load_spec


def _backbone(squeeze: str) -> nn.Module:
    spec = BackboneSpec(name="torchvision/mobilenet_v3_large", taps=("6", "12", "16"), squeeze=squeeze)
    return make_backbone(spec)


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that both places of the gate have in the same order."""
    return {key: value for key, value in module.state_dict().items() if "num_batches" not in key}


@pytest.mark.parametrize(("channels", "middle"), [(64, 16), (72, 24), (120, 32), (128, 32), (192, 48), (672, 168)])
def test_the_middle_is_a_quarter_rounded_to_eight(channels: int, middle: int) -> None:
    assert squeezed(channels) == middle


@torch.no_grad()
def test_the_place_of_the_gate_matters_only_where_it_is_not_open() -> None:
    late, early = _backbone("after_activation"), _backbone("before_activation")
    for mine, theirs in zip(_state(early).values(), _state(late).values(), strict=True):
        mine.copy_(theirs)
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    assert (late(images)[-1] - early(images)[-1]).abs().max().item() > 0.1
    for module in (late, early):
        for name, parameter in module.named_parameters():
            if ".fc2." in name:
                parameter.fill_(0.0 if name.endswith("weight") else 10.0)
    for one, other in zip(late(images), early(images), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_gate_before_the_activation_stands_in_its_layer_in_backbone_and_extras_alike() -> None:
    model = build_model(load_spec("ssdlite320_mobilenet_v3_large.lufficc_voc"))
    keys = model.state_dict().keys()
    assert {"backbone.features.4.block.1.2.fc1.weight", "extras.blocks.0.1.2.fc1.weight"} <= keys
    assert "backbone.features.7.block.1.2.fc1.weight" not in keys


def test_where_there_is_no_gate_or_no_fitting_weights_it_is_one_sentence() -> None:
    with pytest.raises(ModelError, match="no squeeze-and-excitation to place"):
        make_backbone(BackboneSpec(name="torchvision/mobilenet_v2", taps=("18",), squeeze="before_activation"))
    with pytest.raises(ModelError, match="squeeze after the activation"):
        _backbone("before_activation").load_imagenet({})
