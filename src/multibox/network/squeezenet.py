"""torchvision's SqueezeNet 1.1 as a backbone; it has no batch norms."""

from __future__ import annotations

import torchvision
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.squeezenet import Fire

from multibox.errors import ModelError
from multibox.spec import BackboneSpec


class SqueezeNet(nn.Module):
    """The layers of `torchvision.models.squeezenet1_1().features` up to the last tap, under the same keys.

    Taps are indexes of fire modules, 3 to 12 without 5 and 8.
    """

    def __init__(self, spec: BackboneSpec) -> None:
        """Raises `ModelError` for a tap that is no fire module, and for what this backbone does not have."""
        super().__init__()
        if spec.padding != "torch" or spec.width != 1.0 or spec.activation is not None:
            raise ModelError(f"backbone '{spec.name}' has one width, torch's padding and ReLU")
        features = torchvision.models.squeezenet1_1(weights=None).features
        fires = {str(index): layer for index, layer in enumerate(features) if isinstance(layer, Fire)}
        unknown = [tap for tap in spec.taps if tap not in fires]
        if unknown or not spec.taps:
            raise ModelError(f"backbone '{spec.name}' has the taps {', '.join(fires)}, not {list(spec.taps)}")
        _round_pools(features, spec.pool_ceil)
        self.taps = sorted(int(tap) for tap in spec.taps)
        self.features = features[: self.taps[-1] + 1]
        joined = [features[tap] for tap in self.taps]
        self.channels = [fire.expand1x1.out_channels + fire.expand3x3.out_channels for fire in joined]

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """The tapped maps, finest first."""
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                maps.append(x)
        return maps

    def load_imagenet(self, features: dict[str, Tensor]) -> None:
        """Takes the published tensors of the layers that are here."""
        self.features.load_state_dict({k: v for k, v in features.items() if k in self.features.state_dict()})


def _round_pools(features: nn.Sequential, pool_ceil: str) -> None:
    """Sets which max poolings round the size of their map up (`BackboneSpec.pool_ceil`)."""
    pools = [layer for layer in features if isinstance(layer, nn.MaxPool2d)]
    for number, pool in enumerate(pools, start=1):
        pool.ceil_mode = pool_ceil in ("all", f"pool{number}")
