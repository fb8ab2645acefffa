"""A model on any backbone, for any input: levels, head and priors of a sheet, put on maps of other sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import takewhile
from pathlib import Path

import torch

from multibox.errors import ModelError, UsageError
from multibox.network.backbones import make_backbone
from multibox.network.build import build_model, map_sizes
from multibox.network.model import SSD
from multibox.spec import ModelSpec
from multibox.zoo import load_spec
from multibox.zoo.backbone_choice import Choice, choose_backbone
from multibox.zoo.scaling import Layout, Size, layout_of, with_levels

_DEEPEST = 32
"""Largest stride that a backbone is tapped at; extras or the pyramid make the coarser maps."""


def create_model(
    architecture: str | Path | ModelSpec,
    *,
    backbone: str | None = None,
    names: Sequence[str] | None = None,
    input_size: int | tuple[int, int] | None = None,
    pretrained_backbone: bool = False,
) -> SSD:
    """A new network for your classes, as `create_spec` plans it, freshly initialised, in training mode, on the CPU.

    `pretrained_backbone` starts the backbone from ImageNet weights (the only thing here that may fetch a file).
    """
    spec = create_spec(architecture, backbone, names, input_size)
    if not spec.labels.names:
        raise UsageError(f"{spec.name} has no class names; give yours, such as names=('cat', 'dog')")
    return build_model(spec, pretrained_backbone=pretrained_backbone)


def create_spec(
    architecture: str | Path | ModelSpec,
    backbone: str | None = None,
    names: Sequence[str] | None = None,
    input_size: int | tuple[int, int] | None = None,
) -> ModelSpec:
    """The spec of `architecture` (a sheet's name, alias or path, or a spec) on another backbone, for another input.

    `backbone` is a timm name, `timm/NAME`, `torchvision/NAME` or one of our own; none: the sheet's. It is tapped at the
    strides of the sheet's levels up to 32, extras or the pyramid go on from there (`scaling.with_levels`), and priors
    keep their shares of the input (`scaling.scaled_priors`). `input_size` is the side or (height, width); none: the
    sheet's. `names` are your classes; none: the sheet's, if it has any.

    Raises `ModelError` for an unknown name, a backbone without such maps, and an input that does not go through it.
    """
    template = architecture if isinstance(architecture, ModelSpec) else load_spec(architecture)
    size = (template.input.height, template.input.width) if input_size is None else _checked_size(input_size)
    spec = template
    if backbone is not None or size != (template.input.height, template.input.width):
        spec = _adapted(template, None if backbone is None else choose_backbone(backbone), size)
    return spec if names is None else spec.with_names(_checked_names(names))


def _adapted(template: ModelSpec, choice: Choice | None, size: Size) -> ModelSpec:
    """The template on the chosen backbone, or its own, for inputs of that size."""
    layout = layout_of(template, tap_sizes(template))
    spec = replace(template, input=replace(template.input, height=size[0], width=size[1]))
    if choice is not None:
        spec = _put_on(spec, choice, layout)
    words = f"on {spec.backbone.name} at {size[1]}x{size[0]}"
    spec = replace(
        spec,
        architecture=_architecture(spec),
        tag="",
        description=f"{'SSDLite' if _is_lite(spec) else 'SSD'} {words}, made from {template.name}.",
        aliases=(),
        metrics=(),
        weights=None,
        check=None,
    )
    return with_levels(spec, layout, tap_sizes(spec))


def _put_on(spec: ModelSpec, choice: Choice, layout: Layout) -> ModelSpec:
    """The spec with the chosen backbone, tapped where its levels begin, and the colours that this one expects."""
    taps = tuple(choice.taps[stride] for stride in _strides(spec, choice, layout))
    trunk = replace(choice.spec, taps=taps)
    if trunk.name.startswith("timm/"):
        trunk = replace(trunk, norm_momentum=spec.backbone.norm_momentum)
    if taps[0] != next(iter(choice.spec.taps), None):  # norms of the first tap belong to one map
        trunk = replace(trunk, l2norm=None, first_batch_norm=False)
    extras = spec.extras and replace(spec.extras, consumes_last=False)
    if extras and extras.kind == "conv" and trunk.name != "vgg16_atrous":  # VGG alone is used without batch norms
        extras = replace(extras, kind="conv_norm", activation=extras.activation or "relu")
    return replace(spec, backbone=trunk, extras=extras, input=replace(spec.input, **choice.colors))


def _strides(spec: ModelSpec, choice: Choice, layout: Layout) -> list[int]:
    """The strides to tap: for a pyramid those of the sheet's taps, else all that the backbone has from the first on."""
    wanted = list(layout.strides)
    if spec.fpn:
        needed = wanted = wanted[: len(wanted) - spec.fpn.extra_levels]
    else:
        needed, deepest = wanted[:1], max(wanted[0], _DEEPEST)
        wanted = list(takewhile(lambda stride: stride in choice.taps and stride <= deepest, dict.fromkeys(wanted)))
    missing = [str(stride) for stride in needed if stride not in choice.taps]
    if missing:
        raise ModelError(
            f"backbone '{choice.spec.name}' has no map at stride {' and '.join(missing)}, which this model needs; "
            f"its strides are {', '.join(map(str, sorted(choice.taps)))}"
        )
    return wanted


@lru_cache
def tap_sizes(spec: ModelSpec) -> tuple[Size, ...]:
    """(height, width) of the backbone's tapped maps."""
    with torch.device("meta"):
        trunk = make_backbone(spec.backbone, input_size=(spec.input.height, spec.input.width))
    return tuple(map_sizes([trunk], spec))


def _architecture(spec: ModelSpec) -> str:
    """A name as the sheets have theirs: family, input (the side, or width x height), backbone."""
    height, width = spec.input.height, spec.input.width
    trunk = spec.backbone.name.rpartition("/")[2].replace(".", "_")
    pyramid = "" if spec.fpn is None else "_fpnlite" if spec.fpn.separable else "_fpn"
    size = str(width) if width == height else f"{width}x{height}"
    return f"{'ssdlite' if _is_lite(spec) else 'ssd'}{size}_{trunk}{pyramid}"


def _is_lite(spec: ModelSpec) -> bool:
    """Whether the predictors of every level are depthwise separable ones of its own (MobileNetV2 paper, SSDLite)."""
    return spec.head.kind == "separable"


def _checked_size(size: int | tuple[int, int]) -> Size:
    """(height, width) in pixels. Raises `UsageError`."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise UsageError(f"input size {size!r} is neither a side nor (height, width) in pixels")
    return sides[0], sides[1]


def _checked_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes. Raises `UsageError` for what is no list of different names."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"names are a list of words, such as ('cat', 'dog'), not {names!r}")
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"the name '{twice}' is given twice")
    return tuple(names)
