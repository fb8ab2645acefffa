"""Which sheets stand for all of them where a test runs the network: one of each, as many differ in priors, classes or
thresholds alone.
"""

from __future__ import annotations

import pytest

from multibox.spec import ModelSpec
from multibox.zoo import list_models, load_spec

HEAVY = 4_000_000_000
"""Multiply-accumulate operations for one image, from which on a network is a matter of the slow tests; where a sheet does not state
them, only depthwise separable heads count as light."""


def named(name: str) -> ModelSpec:
    """The spec of a sheet; with three classes where it has none."""
    spec = load_spec(name)
    return spec if spec.labels.names else spec.with_names(("cat", "dog", "kettle"))


def networks() -> list[object]:
    """Names of sheets, the first of every network, heavy ones marked slow, as parameters of a test."""
    costs: dict[object, int] = {}
    chosen: dict[object, str] = {}
    for name in list_models():
        spec = load_spec(name)
        size = (spec.input.height, spec.input.width)
        network = (size, spec.backbone, spec.extras, spec.fpn, spec.head, spec.neck_norm)
        unknown = 0 if spec.head.kind == "separable" else HEAVY
        costs[network] = max(costs.get(network, 0), (spec.check and spec.check.macs) or unknown)
        chosen.setdefault(network, name)
    return [
        pytest.param(name, marks=[pytest.mark.slow] if costs[network] >= HEAVY else [])
        for network, name in chosen.items()
    ]
