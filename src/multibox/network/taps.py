"""Taps that are numbers: which blocks of a trunk hand on their map."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from multibox.errors import ModelError
from multibox.spec import BackboneSpec


def block_numbers(spec: BackboneSpec, count: int) -> list[int]:
    """The tapped ones of `count` blocks, numbered from 1, in rising order. Raises `ModelError` for any other tap."""
    known = [str(number) for number in range(1, count + 1)]
    if not spec.taps or any(tap not in known for tap in spec.taps):
        raise ModelError(f"{spec.name}: taps are block numbers from 1 to {count}, not {list(spec.taps)}")
    return sorted({int(tap) for tap in spec.taps})


def tapped_maps(blocks: Iterable[nn.Module], taps: list[int], x: Tensor) -> list[Tensor]:
    """The outputs of the blocks numbered `taps`, `x` being what the first of all blocks is given."""
    maps = []
    for number, block in enumerate(blocks, start=1):
        x = block(x)
        if number in taps:
            maps.append(x)
    return maps
