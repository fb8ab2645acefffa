"""A backbone's name -> what a new model must know of it: its maps by stride, its norms, the colours it expects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import timm
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from multibox.errors import ModelError, did_you_mean
from multibox.spec import BackboneSpec
from multibox.zoo import list_models, load_spec

_TAPS: dict[str, dict[int, str]] = {
    "vgg16_atrous": {8: "conv4_3", 16: "fc7"},
    "mobilenet_v1": {8: "5", 16: "11", 32: "13"},
    "mobilenet_v1_slim": {8: "7", 16: "10", 32: "12"},
    "mobilenet_v1_rfb": {8: "7", 16: "10", 32: "12"},
    "mobilenet_v3_large_late_squeeze": {8: "6", 16: "13", 32: "16"},
    "mobilenet_v3_small_late_squeeze": {8: "3", 16: "8", 32: "12"},
    "mobilenext": {8: "6.expand", 16: "13.expand", 32: "20"},
    "torchvision/mobilenet_v2": {8: "7.expand", 16: "14.expand", 32: "18"},
    "torchvision/mobilenet_v3_large": {8: "7.expand", 16: "13.expand", 32: "16"},
    "torchvision/mobilenet_v3_small": {8: "4.expand", 16: "9.expand", 32: "12"},
    "torchvision/squeezenet1_1": {8: "7", 16: "12"},
}
"""Stride -> the deepest map that has it, of every backbone that is not timm's."""

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A backbone that a model can be put on."""

    taps: dict[int, str]
    """Stride -> the deepest map that has it."""
    spec: BackboneSpec
    """All but the taps, which are still to be chosen."""
    colors: dict[str, Any]
    """The fields of `InputSpec` that say which colours its ImageNet weights expect."""


def choose_backbone(name: str) -> Choice:
    """The backbone of that name: one of our own, `torchvision/NAME`, `timm/NAME`, or timm's bare NAME.

    Raises `ModelError` for an unknown name, with the nearest one, and for a timm network that hands out no maps.
    """
    if name in _TAPS:
        return _from_sheets(name)
    bare = name.removeprefix("timm/")
    if "/" in bare or not timm.is_model(bare):
        known = [*_TAPS, *timm.list_models(), *(f"timm/{model}" for model in timm.list_models())]
        raise ModelError(f"no backbone '{name}'{did_you_mean(name, known)}")
    return _from_timm(bare)


def _from_sheets(name: str) -> Choice:
    """As the first sheet for own names has it."""
    sheets = (load_spec(model) for model in list_models())
    sheet = next((sheet for sheet in sheets if sheet.backbone.name == name and not sheet.tag), None)
    if sheet is None:
        return Choice(taps=_TAPS[name], spec=BackboneSpec(name=name, taps=()), colors=_colors(*_IMAGENET))
    colors = {key: getattr(sheet.input, key) for key in ("mean", "std", "color")}
    return Choice(taps=_TAPS[name], spec=sheet.backbone, colors=colors)


@lru_cache
def _from_timm(name: str) -> Choice:
    """As timm describes it, found on torch's meta device, so without memory for the weights."""
    try:
        with torch.device("meta"):
            net = timm.create_model(name, features_only=True)
    except Exception as error:  # timm raises every kind there is
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"timm backbone '{name}' hands out no maps ({reason})") from error
    norms = [layer for layer in net.modules() if isinstance(layer, _BatchNorm)]
    config = timm.get_pretrained_cfg(name)
    return Choice(
        taps={info["reduction"]: str(index) for index, info in enumerate(net.feature_info.info)},
        spec=BackboneSpec(name=f"timm/{name}", taps=(), norm_eps=norms[0].eps if norms else 1e-5),
        colors=_colors(config.mean, config.std) if config else _colors(*_IMAGENET),
    )


def _colors(mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Any]:
    """RGB from 0 to 1 -> the fields of `InputSpec`, from 0 to 255."""
    mean, std = (tuple(round(255 * value, 6) for value in row) for row in (mean, std))
    return {"mean": mean, "std": std, "color": "rgb"}
