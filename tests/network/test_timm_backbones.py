"""Any timm network as a backbone."""

from __future__ import annotations

import pytest
import torch

from multibox.errors import ModelError
from multibox.network.timm_backbones import TimmBackbone
from multibox.spec import BackboneSpec


def backbone(name: str, *taps: str, size: tuple[int, int] | None = None) -> TimmBackbone:
    return TimmBackbone(name, BackboneSpec(name=f"timm/{name}", taps=taps), False, size).eval()


def test_maps_that_come_channels_last_are_turned_even_where_a_side_equals_the_channels() -> None:
    net = backbone("mambaout_femto", "0")  # 48 channels at stride 4
    images = torch.randn(1, 3, 192, 64)
    with torch.no_grad():
        (given,), (plain,) = net(images), net.net(images)
    assert plain.shape == (1, 48, 16, 48)
    assert torch.equal(given, plain.permute(0, 3, 1, 2))


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "levit_128s", "mvitv2_tiny"])
def test_networks_made_for_one_size_are_made_for_the_one_that_is_asked_for(name: str) -> None:
    with torch.device("meta"):
        net = backbone(name, "0", "1", size=(192, 256))
        finer, coarser = net(torch.zeros(1, 3, 192, 256))
    stride = 192 // finer.shape[2]
    assert finer.shape[1:] == (net.channels[0], 192 // stride, 256 // stride)
    assert coarser.shape[1:] == (net.channels[1], 96 // stride, 128 // stride)


def test_a_network_that_hands_out_no_maps_is_one_sentence() -> None:
    with pytest.raises(ModelError, match="timm backbone 'vit_tiny_patch16_224' cannot be made with taps 99"):
        backbone("vit_tiny_patch16_224", "99")
