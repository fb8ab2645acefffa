"""NVIDIA's SSD300 and MLPerf's: our models under their keys and in their order, and NVIDIA's network on torchvision."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn

from multibox.network.model import SSD

_SHAPES = (4, 6, 6, 6, 4, 4)
_TRUNKS = {
    "nvidia": {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6"},
    "mlperf": {
        "conv1": "layer1.0",
        "bn1": "layer1.1",
        "layer1": "layer1.4",
        "layer2": "layer1.5",
        "layer3": "layer2.0",
    },
}
_LAYERS = {"0.0": "0", "0.1": "1", "1.0": "3", "1.1": "4"}


def their_state(model: SSD, prefix: str = "") -> dict[str, Tensor]:
    """The state dict of the model's codebase, told by its tag, every key behind `prefix`."""
    codebase = model.spec.tag.removesuffix("_coco")
    theirs: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        rows = _columns_outside(value, _SHAPES[int(key.split(".")[2])]) if key.startswith("head.") else value
        theirs[prefix + _their_key(key, codebase)] = rows
    return theirs


def _columns_outside(rows: Tensor, shapes: int) -> Tensor:
    """Channels that run over a cell's priors first -> over the columns first."""
    return rows.view(shapes, -1, *rows.shape[1:]).transpose(0, 1).reshape(rows.shape)


def _their_key(key: str, codebase: str) -> str:
    parts = key.split(".")
    if parts[0] == "backbone":
        lead = "model" if codebase == "mlperf" else "feature_extractor.feature_extractor"
        return ".".join([lead, _TRUNKS[codebase][parts[2]], *parts[3:]])
    if parts[0] == "extras":
        layer = parts[3] if codebase == "mlperf" else _LAYERS[".".join(parts[3:5])]
        return f"additional_blocks.{parts[2]}.{layer}.{parts[-1]}"
    return f"{'conf' if parts[1] == 'classes' else 'loc'}.{parts[2]}.{parts[3]}"


class PlainSSD300(nn.Module):
    """NVIDIA's network by its description, on torchvision's ResNets: its keys, its answers (offsets, logits)."""

    def __init__(self, depth: int, columns: int) -> None:
        super().__init__()
        trunk = torchvision.models.get_model(f"resnet{depth}", weights=None)
        self.feature_extractor = nn.Module()
        self.feature_extractor.feature_extractor = nn.Sequential(*list(trunk.children())[:7])
        for layer in self.feature_extractor.feature_extractor[6][0].modules():
            if isinstance(layer, nn.Conv2d):
                layer.stride = (1, 1)
        widths = [1024 if depth >= 50 else 256, 512, 512, 256, 256, 128 if depth == 18 else 256]
        self.additional_blocks = nn.ModuleList(
            nn.Sequential(
                *(nn.Conv2d(given, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU()),
                *(nn.Conv2d(middle, out, 3, *strides, bias=False), nn.BatchNorm2d(out), nn.ReLU()),
            )
            for given, out, middle, strides in zip(
                widths, widths[1:], (256, 256, 128, 128, 128), [(2, 1)] * 3 + [(1, 0)] * 2, strict=False
            )
        )
        self.columns = columns
        for name, numbers in (("loc", 4), ("conf", columns)):
            pairs = zip(widths, _SHAPES, strict=True)
            setattr(self, name, nn.ModuleList(nn.Conv2d(c, n * numbers, 3, padding=1) for c, n in pairs))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[n, 4, 8732] and [n, columns, 8732]."""
        maps = [self.feature_extractor.feature_extractor(images)]
        for block in self.additional_blocks:
            maps.append(block(maps[-1]))
        offsets = [layer(m).flatten(1).unflatten(1, (4, -1)) for layer, m in zip(self.loc, maps, strict=True)]
        logits = [
            layer(m).flatten(1).unflatten(1, (self.columns, -1)) for layer, m in zip(self.conf, maps, strict=True)
        ]
        return torch.cat(offsets, 2), torch.cat(logits, 2)
