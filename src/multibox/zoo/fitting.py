"""A sheet's levels and priors fitted to the objects of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from multibox.boxes.fitting import cluster_shapes, fit_shapes
from multibox.boxes.priors import shapes_per_cell
from multibox.errors import DataError
from multibox.network.build import build_model
from multibox.network.cost import count_macs
from multibox.spec import CheckSpec, ModelSpec, PriorLevel, PriorsSpec
from multibox.zoo.backbone_choice import choose_backbone
from multibox.zoo.create import tap_sizes
from multibox.zoo.scaling import Layout, layout_of

FITTED = "fitted"
"""The tag of such sheets."""

_LEAST = 2.4
"""Objects are a level's from so many of its strides on, up to those of the next level; smaller ones are the finest's.

By it the levels of `ssdlite320_mobilenet_v3_large.cells` have the shapes that were fitted to blood cells by hand.
"""

_FINEST = 8
"""Smallest stride of a level that is added for small objects: a map of stride 4 would cost more than all others."""

_FEW = 0.01
"""Share of the objects that a finer level is worth."""

_ENOUGH = 100_000
"""Of more objects every k-th is looked at."""


def fit_spec(template: ModelSpec, sizes: Float[Tensor, "n 2"], *, most: int = 6) -> ModelSpec:
    """The template with levels and priors for objects of these widths and heights in pixels of its input.

    Levels without objects at the coarse end are left out, and one of stride 8 is added where the backbone has it and
    objects are too small for the finest. Each level has at most `most` shapes, clusters of the objects of its size. A
    pyramid keeps its levels, and one number of shapes: its predictors are shared, so that shapes are clustered over all
    levels in strides. Raises `DataError` without objects.
    """
    if not len(sizes):
        raise DataError("priors cannot be fitted to a dataset without objects")
    sizes = sizes[:: -(-len(sizes) // _ENOUGH)]
    bare = replace(template, tag=FITTED, aliases=(), metrics=(), weights=None, check=None)
    if template.fpn or template.head.kind == "shared":
        return _with_shapes(bare, _shared_shapes(sizes, strides_of(bare), shapes_per_cell(template.priors.levels[0])))
    spec = _without_coarse(_with_finer(bare, sizes), sizes)
    strides = strides_of(spec)
    middle = sizes.log().mean(dim=0).exp()
    levels = []
    for stride, mask in zip(strides, _masks(sizes, strides), strict=True):
        if mask.any():
            levels.append(fit_shapes(sizes[mask], most, stride))
        else:  # a level between others needs a shape: one of its size, of the usual form
            levels.append((middle / middle.prod().sqrt() * stride * _LEAST * 2**0.5)[None])
    return _with_shapes(spec, levels)


def checked(spec: ModelSpec) -> ModelSpec:
    """The spec, which has class names, with the counts that it has once it is built."""
    network = build_model(spec)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return replace(spec, check=CheckSpec(priors=len(network.priors), parameters=parameters, macs=count_macs(network)))


def strides_of(spec: ModelSpec) -> list[float]:
    """Pixels of the input per cell of every level."""
    layout = _layout(spec)
    return [layout.side / cells**0.5 for cells in layout.cells]


def _layout(spec: ModelSpec) -> Layout:
    """The maps of a spec."""
    return layout_of(spec, tap_sizes(spec))


def _masks(sizes: Float[Tensor, "n 2"], strides: Sequence[float]) -> list[Tensor]:
    """Which objects [n] are each level's."""
    side = sizes.prod(dim=1).sqrt()
    edges = [0.0, *(_LEAST * stride for stride in strides[1:]), float("inf")]
    return [(side >= low) & (side < high) for low, high in pairwise(edges)]


def _with_finer(spec: ModelSpec, sizes: Float[Tensor, "n 2"]) -> ModelSpec:
    """The spec with one more tap before its first where that is coarser than stride 8 and objects are below it."""
    finest = strides_of(spec)[0]
    small = sizes.prod(dim=1).sqrt() < _LEAST * finest
    taps = choose_backbone(spec.backbone.name).taps
    if finest < 1.5 * _FINEST or _FINEST not in taps or float(small.float().mean()) < _FEW:
        return spec
    return replace(spec, backbone=replace(spec.backbone, taps=(taps[_FINEST], *spec.backbone.taps)))


def _without_coarse(spec: ModelSpec, sizes: Float[Tensor, "n 2"]) -> ModelSpec:
    """The spec without the levels at the end of the extras that no object is large enough for."""
    if spec.extras is None:
        return spec
    strides = strides_of(spec)
    used = max(index for index, mask in enumerate(_masks(sizes, strides)) if mask.any()) + 1
    needed = 1 if spec.extras.consumes_last or spec.extras.first else 0
    kept = max(needed, len(spec.extras.blocks) - (len(strides) - used))
    blocks = spec.extras.blocks[:kept]
    return replace(spec, extras=replace(spec.extras, blocks=blocks) if blocks else None)


def _shared_shapes(sizes: Float[Tensor, "n 2"], strides: Sequence[float], count: int) -> list[Tensor]:
    """The same shapes on every level, in its strides."""
    relative = torch.cat([sizes[mask] / stride for stride, mask in zip(strides, _masks(sizes, strides), strict=True)])
    shapes = cluster_shapes(relative, count)
    while len(shapes) < count:  # of fewer different sizes: larger ones of the same forms
        shapes = torch.cat([shapes, shapes[: count - len(shapes)] * 2**0.5])
    return [shapes * stride for stride in strides]


def _with_shapes(spec: ModelSpec, levels: Sequence[Float[Tensor, "k 2"]]) -> ModelSpec:
    """The spec with these widths and heights in pixels as its priors."""
    given, rounded = spec.priors, [[(round(w, 1), round(h, 1)) for w, h in level.tolist()] for level in levels]
    priors = tuple(PriorLevel(shapes=tuple(shapes)) for shapes in rounded)
    return replace(spec, priors=PriorsSpec(levels=priors, clip=given.clip, offset=given.offset))
