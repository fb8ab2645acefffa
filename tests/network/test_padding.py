"""TensorFlow's padding in whole backbones: in all strided layers, the depthwise ones or the first pooling alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multibox.errors import ModelError
from multibox.network.backbones import make_backbone
from multibox.spec import BackboneSpec

MOBILENETS = {"mobilenet_v2": ("13", "18"), "mobilenet_v3_large": ("12", "16"), "mobilenet_v3_small": ("8", "12")}


def backbone(name: str, padding: str, *taps: str) -> nn.Module:
    return make_backbone(BackboneSpec(name=name, taps=taps, padding=padding)).eval()  # type: ignore[arg-type]


def same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's padding by hand; `kernel` and `stride` are those of both sides."""
    pads = []
    for side in (x.shape[3], x.shape[2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


@pytest.mark.parametrize("size", [300, 301, 97])
@pytest.mark.parametrize("padding", ["same", "same_depthwise"])
@pytest.mark.parametrize("name", MOBILENETS)
def test_strided_layers_are_padded_as_tensorflow_does(name: str, padding: str, size: int) -> None:
    net = backbone(f"torchvision/{name}", padding, *MOBILENETS[name])
    seen = []

    def check(layer: nn.Conv2d, given: tuple[Tensor], output: Tensor) -> None:
        padded = same(given[0], layer.kernel_size[0], 2)
        if padding == "same_depthwise" and layer.groups == 1:
            padded = F.pad(given[0], (1, 1, 1, 1))
        assert torch.allclose(output, F.conv2d(padded, layer.weight, None, 2, groups=layer.groups), atol=1e-5)
        seen.append(layer.groups)

    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
            layer.register_forward_hook(check)
    with torch.no_grad():
        net(torch.randn(1, 3, size, size))
    assert len(seen) == 5 and seen.count(1) == 1  # the stem and four depthwise ones


@pytest.mark.parametrize("name", MOBILENETS)
def test_padding_changes_neither_names_nor_shapes_of_tensors(name: str) -> None:
    plain = backbone(f"torchvision/{name}", "torch", *MOBILENETS[name]).state_dict()
    padded = backbone(f"torchvision/{name}", "same", *MOBILENETS[name]).state_dict()
    assert {key: value.shape for key, value in plain.items()} == {key: value.shape for key, value in padded.items()}


def test_the_pooling_of_a_resnet_alone_may_be_padded_so() -> None:
    plain, padded = (backbone("timm/resnet18", padding, "1") for padding in ("torch", "same_pool"))
    padded.load_state_dict(plain.state_dict())
    stem = nn.Sequential(padded.net.conv1, padded.net.bn1, nn.ReLU())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        # outside the map lies nothing: of the first window a row and a column more count, of the last ones fewer
        pooled = F.max_pool2d(F.pad(stem(x), (0, 1, 0, 1), value=-torch.inf), 3, 2)
        assert torch.equal(padded(x)[0], padded.net.layer1(pooled))
        assert not torch.equal(padded(x)[0], plain(x)[0])


@pytest.mark.parametrize(
    ("name", "padding", "tap"),
    [
        ("torchvision/mobilenet_v2", "same_pool", "13"),
        ("timm/mobilenetv2_100", "same_pool", "3"),
        ("timm/mobilenetv2_100", "same_depthwise", "3"),
    ],
)
def test_a_padding_that_a_backbone_has_not_is_refused_by_name(name: str, padding: str, tap: str) -> None:
    with pytest.raises(ModelError, match=padding):
        backbone(name, padding, tap)
