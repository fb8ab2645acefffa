"""Batches at several sizes of the input, for a network whose priors are fixed.

A prior is a shape in pixels at a stride in pixels, and so is what its predictor learns: an object of about that many
pixels. For a batch at another size the grid is therefore laid out anew on the maps that the network then has, with the
shapes of the sheet in pixels, unchanged; larger inputs have more priors, smaller ones fewer. The weights serve all
sizes, and the network that is kept and exported has the priors of its own size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from multibox.errors import ModelError, UsageError
from multibox.network.build import lay_priors
from multibox.network.model import SSD
from multibox.spec import ModelSpec

_STEPS = (32, 16, 8)
"""Pixels between two sizes: the first that fits between the input and the smallest or largest size."""

_SALT = 0x5CA1E
"""Tells these draws from all others of the same seed."""


@dataclass(frozen=True, slots=True)
class Scale:
    """One size: the spec with that input, and the priors on its maps."""

    spec: ModelSpec
    priors: Float[Tensor, "p 4"]
    level_sizes: tuple[int, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.spec.input.height, self.spec.input.width

    def resized(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 y x"]:
        """Normalised images at this size."""
        if tuple(images.shape[2:]) == self.size:
            return images
        return functional.interpolate(images, self.size, mode="bilinear", align_corners=False)


def scales_of(network: SSD, share: float) -> tuple[Scale, ...]:
    """The sizes whose sides differ from the network's by at most this share; its own alone for 0.

    Sizes that do not go through the network (too small for its last level, or a backbone made for one) are left out.
    Raises `UsageError` where no other size is left.
    """
    own = Scale(network.spec, network.priors, network.level_sizes)
    if not share:
        return (own,)
    found = [scale for size in _sizes(own.size, share) if (scale := _lay(network, size))]
    if not found:
        raise UsageError(
            f"multi_scale {share:g} leaves '{network.spec.name}' no other input than {own.size[1]}x{own.size[0]}; "
            "raise it, or leave it out"
        )
    return (*found, own)


def draw_scale(scales: Sequence[Scale], seed: int, step: int) -> Scale:
    """The size of one step: the same for the same seed and step, on every process."""
    return scales[int(np.random.default_rng((_SALT, seed, step)).integers(len(scales)))]


def _sizes(own: tuple[int, int], share: float) -> list[tuple[int, int]]:
    """Other sizes (height, width) of nearly the same form, in even steps of the shorter side."""
    shorter = min(own)
    step = next((step for step in _STEPS if step <= share * shorter), None)
    if step is None:
        return []
    count = int(share * shorter / step)
    factors = [1 + step * index / shorter for index in range(-count, count + 1) if index]
    return [(round(own[0] * factor), round(own[1] * factor)) for factor in factors]


def _lay(network: SSD, size: tuple[int, int]) -> Scale | None:
    """The priors for that input; none where it does not go through."""
    spec = replace(network.spec, input=replace(network.spec.input, height=size[0], width=size[1]))
    parts = (network.backbone, network.fpn, network.extras)
    training = {module: module.training for module in network.modules()}
    try:
        priors, level_sizes = lay_priors(parts, spec)
    except ModelError:
        return None
    finally:
        for module, mode in training.items():
            module.training = mode
    return Scale(spec, priors.to(torch.float32), level_sizes) if min(level_sizes) > 0 else None
