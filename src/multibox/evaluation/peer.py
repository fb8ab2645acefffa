"""torchvision's own model with the weights of one of ours, for a comparison that differs in the code alone."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from multibox.errors import ModelError, UsageError
from multibox.network.model import SSD
from multibox.weights.importers import Foreign, torchvision

ARCHITECTURES = ("ssd300_vgg16", "ssdlite320_mobilenet_v3_large")
"""Names of ours that are torchvision's too."""


def make_twin(model: SSD) -> nn.Module:
    """torchvision's model of the same architecture, weights and thresholds.

    The weights take the importer's way backwards. Raises `UsageError` for an architecture that torchvision has not, and
    where the network differs from torchvision's.
    """
    return _assemble(_describe(model))


def save_twin(model: SSD, path: Path) -> None:
    """Writes what `open_twin` needs to make the twin of `model` in another process. Raises as `make_twin`."""
    torch.save(_describe(model), path)


def open_twin(path: Path) -> nn.Module:
    """The twin that `save_twin` wrote. Raises `ModelError` where the file is not one."""
    try:
        return _assemble(torch.load(path, weights_only=True))
    except (OSError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path}: not a twin that multibox wrote ({error})") from None


def _describe(model: SSD) -> dict[str, Any]:
    """Architecture, arguments and weights of the twin, in plain types and tensors."""
    spec = model.spec
    if spec.architecture not in ARCHITECTURES:
        raise UsageError(f"torchvision has no {spec.architecture}; it has {' and '.join(ARCHITECTURES)}")
    rule = spec.postprocess
    arguments = {
        "num_classes": spec.columns,
        "score_thresh": rule.score_threshold,
        "nms_thresh": rule.iou,
        "topk_candidates": rule.topk or 400,
        "detections_per_img": rule.max_detections or 200,
    }
    ours = model.state_dict()
    theirs = _build(spec.architecture, arguments).state_dict()
    imported = torchvision.read(Foreign(state=theirs))
    assert imported is not None
    key_of = {id(value): key for key, value in imported.state.items()}
    state = {key: ours.get(key_of[id(value)]) for key, value in theirs.items()}
    for key, value in theirs.items():
        found = state[key]
        if found is None or found.shape != value.shape:
            shape = "absent" if found is None else list(found.shape)
            raise UsageError(f"{spec.name} is not torchvision's network: '{key_of[id(value)]}' is {shape}")
    return {"architecture": spec.architecture, "arguments": arguments, "state": state}


def _build(architecture: str, arguments: dict[str, Any]) -> nn.Module:
    """torchvision's model with fresh weights."""
    from torchvision.models import detection

    model: nn.Module = getattr(detection, architecture)(weights=None, weights_backbone=None, **arguments)
    return model.eval()


def _assemble(description: dict[str, Any]) -> nn.Module:
    """The model of a description."""
    model = _build(description["architecture"], description["arguments"])
    model.load_state_dict(description["state"])
    return model
