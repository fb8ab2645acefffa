"""Any timm network as a backbone, by name; channels come from its `feature_info`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import timm
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from multibox.errors import ModelError, did_you_mean
from multibox.network.resnet_edits import edit_resnet
from multibox.spec import BackboneSpec

HEAD = "head"
"""Tap of the final 1x1 convolution with its norm and activation, which `features_only` leaves out."""


class TimmBackbone(nn.Module):
    """`net` is timm's own network, under timm's own keys; `channels` of the taps as timm reports them."""

    def __init__(
        self, name: str, spec: BackboneSpec, pretrained: bool, input_size: tuple[int, int] | None = None
    ) -> None:
        """`input_size` (height, width) is told to networks that are made for one size: transformers, mostly."""
        super().__init__()
        if not timm.is_model(name):
            raise ModelError(f"no timm backbone '{name}'{did_you_mean(name, timm.list_models())}")
        if spec.padding == "same_depthwise":
            raise ModelError(f"backbone 'timm/{name}' has no padding '{spec.padding}'; torchvision's MobileNets have")
        self.with_head = HEAD in spec.taps
        self.indexes = _indexes(name, spec)
        self.net = _create(name, spec, self.indexes, pretrained, input_size)
        # of some transformers, unless their head is tapped
        self.channels_last = not self.with_head and str(getattr(self.net, "output_fmt", "")).endswith("NHWC")
        edit_resnet(self.net, spec)
        self.channels = self._channels(name)
        for layer in self.net.modules():
            if isinstance(layer, _BatchNorm):
                layer.eps, layer.momentum = spec.norm_eps, spec.norm_momentum

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """The tapped maps, finest first, channels first."""
        if not self.with_head:
            maps = self.net(x)
        elif self.indexes:
            last, maps = self.net.forward_intermediates(x, indices=self.indexes)
            maps = [*maps, last]
        else:
            maps = [self.net.forward_features(x)]
        return [m.permute(0, 3, 1, 2) for m in maps] if self.channels_last else list(maps)

    def _channels(self, name: str) -> list[int]:
        """Channels of all taps in their order."""
        if not self.with_head:
            return list(self.net.feature_info.channels())
        final = getattr(self.net, "conv_head", None)
        if not isinstance(final, nn.Conv2d) or not hasattr(self.net, "bn2"):
            raise ModelError(f"timm backbone '{name}' has no tap 'head'; take indexes of its feature_info")
        return [self.net.feature_info[i]["num_chs"] for i in self.indexes] + [final.out_channels]


def _indexes(name: str, spec: BackboneSpec) -> list[int]:
    """The numbered taps; `head` may only be the last."""
    numbers = [tap for tap in spec.taps if tap != HEAD]
    wrong = [tap for tap in numbers if not tap.isdigit()]
    if wrong or (HEAD in spec.taps and spec.taps[-1] != HEAD):
        raise ModelError(f"timm backbone '{name}': taps are rising indexes such as '3', '4', then at most '{HEAD}'")
    return [int(tap) for tap in numbers]


def _create(
    name: str, spec: BackboneSpec, indexes: list[int], pretrained: bool, input_size: tuple[int, int] | None
) -> Any:
    """timm's network, whole where its head is tapped; failures become one sentence."""
    options: dict[str, Any] = {"pad_type": "same"} if spec.padding == "same" else {}
    if HEAD in spec.taps:
        options |= {"num_classes": 0, "global_pool": ""}
    else:
        options |= {"features_only": True, "out_indices": tuple(indexes)}
    try:
        if input_size and _has_one_size(name):
            with suppress(TypeError, AssertionError):  # not all of them can be told
                return timm.create_model(name, pretrained=pretrained, img_size=input_size, **options)
        return timm.create_model(name, pretrained=pretrained, **options)
    except Exception as error:  # timm and its hub raise every kind there is
        if pretrained:
            raise ModelError(
                f"the ImageNet weights of '{name}' could not be had ({type(error).__name__}); "
                "connect to the internet, put them into the cache of timm, or train without a pretrained backbone"
            ) from error
        wish = f"taps {', '.join(spec.taps)} and padding '{spec.padding}'"
        raise ModelError(f"timm backbone '{name}' cannot be made with {wish} ({error})") from error


def _has_one_size(name: str) -> bool:
    """Whether timm says of a network that it is made for one input size."""
    config = timm.get_pretrained_cfg(name)
    return bool(config and config.fixed_input_size)
