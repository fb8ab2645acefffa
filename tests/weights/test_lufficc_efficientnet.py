"""lufficc's SSD300 on EfficientNet-B3, of which no reference numbers are at hand: a checkpoint made by rule under
its keys is compared with a plain calculation of the network.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lufficc_files import random_model
from multibox.network.model import SSD
from multibox.zoo.models import load_model

SHEET = "ssd300_efficientnet_b3.lufficc_voc"
PUBLISHED = 12_656_262
STRIDES = {2: 2, 5: 2, 8: 2, 18: 2}
"""Blocks that halve the map."""
TAPPED = (7, 17, 25)
LAYERS = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_se_reduce", "_se_expand", "_project_conv", "_bn2")
"""Layers of a block in the order in which they act; the first two blocks have no expansion."""
SHAPES = {
    "_conv_stem.weight": (40, 3, 3, 3),
    "_blocks.0._se_reduce.weight": (10, 40, 1, 1),
    "_blocks.1._project_conv.weight": (24, 24, 1, 1),
    "_blocks.2._expand_conv.weight": (144, 24, 1, 1),
    "_blocks.5._depthwise_conv.weight": (192, 1, 5, 5),
    "_blocks.7._project_conv.weight": (48, 288, 1, 1),
    "_blocks.17._project_conv.weight": (136, 816, 1, 1),
    "_blocks.25._se_expand.bias": (2304,),
    "_blocks.25._bn2.running_var": (384,),
    "extras.0.0.weight": (128, 384, 1, 1),
    "extras.2.2.weight": (256, 128, 3, 3),
}


@pytest.fixture(scope="module")
def model() -> SSD:
    return random_model(SHEET)


@pytest.fixture(scope="module")
def theirs(model: SSD) -> dict[str, Tensor]:
    """The tensors in the order in which they act, which both networks share, under lufficc's keys."""
    net = model.backbone.net
    modules = {"_conv_stem": net.conv_stem, "_bn0": net.bn1}
    for number, block in enumerate(block for stage in net.blocks for block in stage):
        acting = [module for module in block.modules() if list(module.parameters(recurse=False))]
        modules |= {f"_blocks.{number}.{n}": m for n, m in zip(LAYERS[-len(acting) :], acting, strict=True)}
    modules |= {f"extras.{i}.{j}": block[j] for i, block in enumerate(model.extras.blocks) for j in (0, 2)}
    modules = {f"backbone.{name}": module for name, module in modules.items()}
    heads = {"cls_headers": model.head.classes, "reg_headers": model.head.boxes}
    for name, predictors in heads.items():
        modules |= {f"box_head.predictor.{name}.{level}": predictor for level, predictor in enumerate(predictors)}
    return {f"{name}.{kind}": value for name, m in modules.items() for kind, value in m.state_dict().items()}


def test_names_and_shapes_are_the_published_ones(theirs: dict[str, Tensor]) -> None:
    assert sum(v.numel() for k, v in theirs.items() if "running" not in k and "batches" not in k) == PUBLISHED
    assert {key: tuple(theirs[f"backbone.{key}"].shape) for key in SHAPES} == SHAPES
    assert "backbone._blocks.1._expand_conv.weight" not in theirs and "backbone._blocks.26._bn1.weight" not in theirs


def test_every_tensor_finds_its_place(model: SSD, theirs: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"model": theirs, "iteration": 160000}, tmp_path / "efficient_net_b3_ssd300_voc0712.pth")
    read = load_model(tmp_path / "efficient_net_b3_ssd300_voc0712.pth")
    assert read.spec == model.spec
    for (key, value), mine in zip(model.state_dict().items(), read.state_dict().values(), strict=True):
        assert torch.equal(value, mine), key


@torch.no_grad()
def test_the_network_computes_what_its_layers_say(model: SSD, theirs: dict[str, Tensor]) -> None:
    images = torch.randn(1, 3, 300, 300)
    maps = _maps(theirs, images)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (48, 38, 38), (136, 19, 19), (384, 10, 10), (256, 5, 5), (256, 3, 3), (256, 1, 1)
    ]  # fmt: skip
    wanted = torch.cat([_predict(theirs, m, level) for level, m in enumerate(maps)], dim=1)
    logits = model(images).logits
    assert (logits - wanted).abs().max().item() <= 1e-4 * wanted.std().item()


def _maps(state: dict[str, Tensor], images: Tensor) -> list[Tensor]:
    """The six maps, from TensorFlow's padding, swish and gates to the extra levels with torch's padding."""
    x = F.silu(_norm(state, "backbone._bn0", _conv(state, "backbone._conv_stem", images, 2)))
    maps = []
    for number in range(26):
        x = _block(state, f"backbone._blocks.{number}.", x, STRIDES.get(number, 1))
        maps += [x] if number in TAPPED else []
    for level, (stride, padding) in enumerate(((2, 1), (1, 0), (1, 0))):
        name = f"backbone.extras.{level}"
        x = F.relu(F.conv2d(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"]))
        x = F.relu(F.conv2d(x, state[f"{name}.2.weight"], state[f"{name}.2.bias"], stride, padding))
        maps.append(x)
    return maps


def _block(state: dict[str, Tensor], name: str, x: Tensor, stride: int) -> Tensor:
    """One inverted residual with squeeze and excitation."""
    y = x
    if f"{name}_expand_conv.weight" in state:
        y = F.silu(_norm(state, f"{name}_bn0", _conv(state, f"{name}_expand_conv", y)))
    y = F.silu(_norm(state, f"{name}_bn1", _conv(state, f"{name}_depthwise_conv", y, stride)))
    gate = F.silu(_conv(state, f"{name}_se_reduce", y.mean(dim=(2, 3), keepdim=True)))
    y = y * _conv(state, f"{name}_se_expand", gate).sigmoid()
    y = _norm(state, f"{name}_bn2", _conv(state, f"{name}_project_conv", y))
    return x + y if stride == 1 and x.shape == y.shape else y


def _conv(state: dict[str, Tensor], name: str, x: Tensor, stride: int = 1) -> Tensor:
    """A convolution padded as TensorFlow does: the odd row and column of zeros come last."""
    weight = state[f"{name}.weight"]
    missing = [max(0, (-(-side // stride) - 1) * stride + weight.shape[-1] - side) for side in x.shape[2:]]
    rows, columns = ((lack // 2, lack - lack // 2) for lack in missing)
    groups = x.shape[1] // weight.shape[1]
    return F.conv2d(F.pad(x, (*columns, *rows)), weight, state.get(f"{name}.bias"), stride, groups=groups)


def _norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    values = (state[f"{name}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, *values, eps=1e-3)


def _predict(state: dict[str, Tensor], x: Tensor, level: int) -> Tensor:
    name = f"box_head.predictor.cls_headers.{level}"
    y = F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)
    return y.permute(0, 2, 3, 1).reshape(1, -1, 21)
