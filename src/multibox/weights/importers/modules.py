"""Renaming by modules, as codebases need whose tensors are ours but for the names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_BIAS_BEFORE_NORM = re.compile(r"(head\.\w+\.\d+\.0)\.0\.bias")


def rename_modules(state: Mapping[str, Tensor], modules: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors under our keys. `modules` leads from foreign modules (or whole keys) to ours; what it does not know
    keeps its key.

    The biases of depthwise convolutions in the heads, which a batch norm takes away again, go into its mean.
    """
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        module, _, kind = key.rpartition(".")
        ours[modules.get(key) or f"{modules.get(module, module)}.{kind}"] = value
    for key in list(ours):
        found = _BIAS_BEFORE_NORM.fullmatch(key)
        mean = f"{found[1]}.1.running_mean" if found else ""
        if mean in ours:
            ours[mean] = ours[mean] - ours.pop(key)
    return ours
