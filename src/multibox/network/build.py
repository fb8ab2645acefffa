"""A spec -> the network, with its priors laid out on the maps that it really has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from multibox.boxes.priors import make_priors, shapes_per_cell
from multibox.errors import ModelError
from multibox.network.backbones import make_backbone
from multibox.network.extras import Extras
from multibox.network.fpn import FPN
from multibox.network.heads import make_head
from multibox.network.honoured import refuse_ignored_fields
from multibox.network.model import SSD
from multibox.network.vgg import VGG16Atrous
from multibox.spec import ModelSpec


def build_model(spec: ModelSpec, *, pretrained_backbone: bool = False) -> SSD:
    """The network of `spec`, freshly initialised, in training mode, on the CPU.

    `pretrained_backbone` starts the backbone from ImageNet weights (the only thing here that may fetch a file). Raises
    `ModelError` where the spec has no class names, or where its parts do not fit each other.
    """
    _check(spec)
    backbone = make_backbone(spec.backbone, pretrained_backbone, (spec.input.height, spec.input.width))
    if pretrained_backbone and isinstance(backbone, VGG16Atrous):
        backbone.adapt_input(spec.input)
    channels: list[int] = list(backbone.channels)  # type: ignore[arg-type]
    fpn = extras = None
    if spec.fpn is not None:
        fpn = FPN(spec.fpn, channels, spec.norm)
        channels = list(fpn.channels)
    if spec.extras is not None:
        extras = Extras(spec.extras, channels, spec.norm, "same" if spec.backbone.padding == "same" else "torch")
        channels = extras.channels
    levels = spec.priors.levels
    if len(levels) != len(channels):
        raise ModelError(f"{spec.name}: priors for {len(levels)} levels, but the network has {len(channels)} maps")
    counts = [shapes_per_cell(level) for level in levels]
    head = make_head(spec.head, channels, counts, spec.columns, spec.norm)
    priors, level_sizes = lay_priors([backbone, fpn, extras], spec)
    return SSD(spec, backbone, fpn, extras, head, priors, level_sizes)


def lay_priors(parts: Sequence[nn.Module | None], spec: ModelSpec) -> tuple[Float[Tensor, "p 4"], tuple[int, ...]]:
    """The priors on the maps that these parts (backbone, pyramid, extras) give for the spec's input, and how many each
    map has. Raises `ModelError` where the input does not go through.
    """
    maps = map_sizes([part for part in parts if part is not None], spec)
    sizes = [(-(-height // spec.head.stride), -(-width // spec.head.stride)) for height, width in maps]
    priors = make_priors(spec.priors, (spec.input.height, spec.input.width), sizes)
    counts = (shapes_per_cell(level) for level in spec.priors.levels)
    return priors, tuple(h * w * count for (h, w), count in zip(sizes, counts, strict=True))


def _check(spec: ModelSpec) -> None:
    """What the parts cannot see for themselves."""
    if not spec.labels.names:
        raise ModelError(f"{spec.name} has no class names; give it those of your data (spec.with_names)")
    if spec.head.prior_probability is not None and spec.activation != "sigmoid":
        raise ModelError(f"{spec.name}: head.prior_probability needs activation 'sigmoid'")
    if spec.head.stride < 1:
        raise ModelError(f"{spec.name}: head.stride is {spec.head.stride}; it is 1 or more")
    refuse_ignored_fields(spec)


def map_sizes(parts: Sequence[nn.Module], spec: ModelSpec) -> list[tuple[int, int]]:
    """(h, w) of every map for the spec's input, found by running the parts without data (on torch's meta device)."""
    maps: Any = torch.zeros(1, 3, spec.input.height, spec.input.width, device="meta")
    try:
        with torch.no_grad():
            for part in parts:
                state = {k: v.to("meta") for k, v in chain(part.named_parameters(), part.named_buffers())}
                # batch norm refuses a 1x1 map of one image while training
                maps = functional_call(part.eval(), state, (maps,))
                part.train()
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or "it is made for others"
        size = f"{spec.input.width}x{spec.input.height}"
        raise ModelError(f"{spec.name}: an input of {size} does not go through the network ({reason})") from error
    return [(int(m.shape[-2]), int(m.shape[-1])) for m in maps]
