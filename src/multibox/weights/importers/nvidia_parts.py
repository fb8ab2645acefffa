"""What NVIDIA's SSD300 and MLPerf's, which grew from the same code, have in common: heads, class names, prefixes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from multibox.errors import ModelError

_HEAD = re.compile(r"(loc|conf)\.(\d+)\.(weight|bias)")
_HEADS = {"loc": "boxes", "conf": "classes"}
_NUMBERS = 4
"""Of a box."""


def bare(state: Mapping[str, Tensor], first: str) -> dict[str, Tensor] | None:
    """The tensors without the prefix that stands before the network's first key, such as `1.` of the time when a half
    precision network stood behind a cast; none where the network is another one.
    """
    found = next((key for key in state if key == first or key.endswith(f".{first}")), None)
    if found is None or not any(_HEAD.search(key) for key in state):
        return None
    return {key.removeprefix(found.removesuffix(first)): value for key, value in state.items()}


def head(key: str, state: Mapping[str, Tensor]) -> tuple[str, Tensor] | None:
    """Our key and rows of a predictor; none where the key is no predictor's.

    The codebase's channels run over the numbers (columns or dx, dy, dw, dh) first and over a cell's priors within.
    """
    found = _HEAD.fullmatch(key)
    if found is None:
        return None
    rows, shapes = state[key], _shapes_per_cell(state, found[2])
    if len(rows) % shapes:
        raise ModelError(f"'{key}' has {len(rows)} rows, which {shapes} priors per cell do not share evenly")
    split = rows.reshape(-1, shapes, *rows.shape[1:]).transpose(0, 1)
    return f"head.{_HEADS[found[1]]}.{found[2]}.{found[3]}", split.reshape(rows.shape)


def names(about: Mapping[str, Any]) -> tuple[str, ...]:
    """The class names of a checkpoint's `label_map`, which leads from the column to the name; 0 is the background."""
    table = about.get("label_map")
    if not isinstance(table, Mapping):
        return ()
    found = {column: name for column, name in table.items() if column != 0}
    if any(not isinstance(name, str) for name in found.values()) or set(found) != set(range(1, len(found) + 1)):
        return ()
    return tuple(found[column] for column in range(1, len(found) + 1))


def _shapes_per_cell(state: Mapping[str, Tensor], level: str) -> int:
    """Priors on each cell of a level, told by its box predictor."""
    bias = state.get(f"loc.{level}.bias")
    if bias is None or not len(bias) or len(bias) % _NUMBERS:
        raise ModelError(
            f"'loc.{level}.bias', which tells how many priors a cell of level {level} has, is missing or odd"
        )
    return len(bias) // _NUMBERS
