"""Writes our models as NVIDIA's SSD300 and MLPerf's save theirs: their keys, and their order of the head's channels."""

from __future__ import annotations

from torch import Tensor

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
