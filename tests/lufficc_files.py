"""State dicts as lufficc's SSD and its fork write them, made from models of ours: their keys, counted as they count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from multibox.network.build import build_model
from multibox.network.mobilenext import Sandglass
from multibox.network.model import SSD
from multibox.zoo import load_spec

GATE = "gate"
"""Stands for the slot of squeeze-and-excitation in a MobileNetV3 block that has none."""
Named = Iterator[tuple[str, nn.Module]]


def random_model(sheet: str, names: int = 0) -> SSD:
    """A model of the sheet, or with so many classes, whose norms hold statistics of noise, in evaluation mode."""
    spec = load_spec(sheet)
    torch.manual_seed(0)
    model = build_model(spec.with_names(tuple(f"class {i + 1}" for i in range(names))) if names else spec)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for values in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
                values.uniform_(0.5, 1.5)
    return model.eval()


def their_state(model: SSD) -> dict[str, Tensor]:
    """The tensors under their keys; depthwise convolutions of the heads get a bias, which their norm takes away."""
    state: dict[str, Tensor] = {}
    for name, module in _modules(model):
        squeezes = isinstance(module, nn.Conv2d) and ".fc." in name
        for kind, value in module.state_dict().items():
            state[f"{name}.{kind}"] = value.flatten(1) if squeezes and kind == "weight" else value.clone()
    for key in [key for key in state if key.startswith("box_head") and key.endswith(".conv.0.weight")]:
        bias = torch.rand(len(state[key]))
        state[key.replace("weight", "bias")] = bias
        state[key.replace("0.weight", "1.running_mean")] += bias
    return state


def _modules(model: SSD) -> Named:
    """Every module with parameters, under its name there."""
    backbone, extras = model.spec.backbone.name, model.extras
    if backbone == "vgg16_atrous":
        yield from _row("backbone.vgg", model.backbone.layers)
        yield "backbone.l2_norm", _L2Norm(model.backbone.first_norm.scale)
        yield from _row("backbone.extras", [layer for layer in _flat(extras.blocks) if isinstance(layer, nn.Conv2d)])
    else:
        for index, block in enumerate(model.backbone.features):
            yield from _block(f"backbone.features.{index}", block)
        for index, block in enumerate(extras.blocks):
            yield from _extra(f"backbone.extras.{index}", block, backbone)
    for theirs, predictors in (("cls_headers", model.head.classes), ("reg_headers", model.head.boxes)):
        for level, predictor in enumerate(predictors):
            name = f"box_head.predictor.{theirs}.{level}"
            plain = isinstance(predictor, nn.Conv2d)
            yield from [(name, predictor)] if plain else _row(f"{name}.conv", _flat(predictor))


def _block(name: str, block: nn.Module) -> Named:
    """A block of a backbone: counted in one row, or as torchvision counts it."""
    if isinstance(block, Sandglass):
        yield from _row(f"{name}.conv", _flat(block.layers))
    elif hasattr(block, "block"):
        yield from _row(f"{name}.conv", _with_gates(block.block))
    else:
        yield from ((f"{name}.{inner}", module) for inner, module in block.named_modules() if _learns(module))


def _extra(name: str, block: nn.Sequential, backbone: str) -> Named:
    """An extra level: MobileNeXt's and MobileNetV3's are counted in one row, MobileNetV2's as torchvision counts."""
    if backbone == "mobilenext":
        yield from _row(name, _flat(block))
    elif "v3" in backbone:
        yield from _row(f"{name}.conv", _with_gates(block))
    else:
        expand, depthwise, project = block
        yield from _row(f"{name}.conv.0", expand)
        yield from _row(f"{name}.conv.1", depthwise)
        yield from ((f"{name}.conv.{2 + index}", layer) for index, layer in enumerate(project))


def _row(name: str, layers: Iterable[nn.Module | str]) -> Named:
    """The layers that learn, named by their place among all."""
    for index, layer in enumerate(layers):
        if hasattr(layer, "fc1"):
            yield f"{name}.{index}.fc.0", layer.fc1
            yield f"{name}.{index}.fc.2", layer.fc2
        elif layer != GATE and _learns(layer):
            yield f"{name}.{index}", layer


def _with_gates(layers: nn.Sequential) -> list[nn.Module | str]:
    """Convolution, norm, activation of each layer in turn; the last but one keeps a slot for the gate.

    Without an expansion the gate's slot lies after the activation, else between norm and activation.
    """
    *first, depthwise, project = layers
    parts = list(depthwise)
    if len(parts) == 3:
        parts.insert(2 if first else 3, GATE)
    return [*(layer for part in first for layer in part), *parts, *project]


def _flat(blocks: nn.Module) -> list[nn.Module]:
    """The innermost layers, a gate as one."""
    return [layer for layer in blocks.modules() if not isinstance(layer, nn.Sequential | nn.ModuleList)]


def _learns(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.BatchNorm2d | _L2Norm)


class _L2Norm(nn.Module):
    """Their name of the scale."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(scale.detach())
