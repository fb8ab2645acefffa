"""A backbone's name -> the module that gives the tapped maps."""

from __future__ import annotations

from collections.abc import Callable

import torchvision
from torch import Tensor, nn

from multibox.errors import ModelError
from multibox.network import mobilenet_v1, mobilenet_v3_late_squeeze
from multibox.network.mobilenet_v1 import MobileNetV1
from multibox.network.mobilenet_v3_late_squeeze import MobileNetV3LateSqueeze
from multibox.network.mobilenext import MobileNeXt
from multibox.network.squeezenet import SqueezeNet
from multibox.network.timm_backbones import TimmBackbone
from multibox.network.torchvision_backbones import TorchvisionBackbone
from multibox.network.vgg import VGG16Atrous
from multibox.spec import BackboneSpec

_OWN: dict[str, Callable[[BackboneSpec], nn.Module]] = {
    **dict.fromkeys(mobilenet_v1.PLANS, MobileNetV1),
    **dict.fromkeys(mobilenet_v3_late_squeeze.PLANS, MobileNetV3LateSqueeze),
    "mobilenext": MobileNeXt,
}
"""Networks of our own without published ImageNet weights."""


def make_backbone(spec: BackboneSpec, pretrained: bool = False, input_size: tuple[int, int] | None = None) -> nn.Module:
    """The trunk that `spec` names: images -> list of maps, with the attribute `channels`, one number per map.

    `pretrained` fetches ImageNet weights (from timm's or torchvision's cache, or the internet); only then is anything
    fetched. `input_size` (height, width) is told to those of timm's networks that are made for one size. Raises
    `ModelError` for an unknown name or tap, and where the weights cannot be had.
    """
    family, _, name = spec.name.partition("/")
    if spec.name == "vgg16_atrous":
        vgg = VGG16Atrous(spec)
        if pretrained:
            vgg.load_imagenet(_published_features("vgg16", "IMAGENET1K_FEATURES"))
        return vgg
    if spec.name in _OWN:
        if pretrained:
            raise ModelError(f"backbone '{spec.name}' has no published ImageNet weights; take timm/NAME for such")
        return _OWN[spec.name](spec)
    if family == "torchvision" and name:
        trunk = SqueezeNet(spec) if name == "squeezenet1_1" else TorchvisionBackbone(name, spec)
        if pretrained:
            trunk.load_imagenet(_published_features(name, "IMAGENET1K_V1"))
        return trunk
    if family == "timm" and name:
        return TimmBackbone(name, spec, pretrained, input_size)
    own = ", ".join(["vgg16_atrous", *_OWN])
    raise ModelError(f"no backbone '{spec.name}'; give {own}, torchvision/NAME or timm/NAME")


def _published_features(name: str, tag: str) -> dict[str, Tensor]:
    """torchvision's ImageNet tensors of `features.*`, without that prefix."""
    try:
        weights = torchvision.models.get_model_weights(name)[tag]
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # the hub raises whatever its transport raises
        raise ModelError(
            f"the ImageNet weights of '{name}' could not be had ({type(error).__name__}); "
            "connect to the internet, put them into the cache of torch.hub, or train without a pretrained backbone"
        ) from error
    return {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}
