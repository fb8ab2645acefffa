"""What a model is: every number that differs between SSD codebases, as frozen keyword-only dataclasses.

A sheet (`zoo/models/*.toml`) is read into a `ModelSpec`; the same spec travels as JSON inside every checkpoint and
every exported file, so that a file alone is enough to predict. Sizes are pixels of the network's input, colours are
on the 0..255 scale, boxes are x1, y1, x2, y2.
"""

from multibox.spec.boxes import CoderSpec, LossSpec, MatchingSpec, PostprocessSpec, PriorLevel, PriorsSpec
from multibox.spec.model import CheckSpec, LabelSpec, Metric, ModelSpec, WeightsSpec
from multibox.spec.network import (
    Activation,
    BackboneSpec,
    ExtraBlock,
    ExtrasSpec,
    FirstMapSpec,
    FpnSpec,
    HeadSpec,
    InputSpec,
    NormSpec,
)

__all__ = [
    "Activation",
    "BackboneSpec",
    "CheckSpec",
    "CoderSpec",
    "ExtraBlock",
    "ExtrasSpec",
    "FirstMapSpec",
    "FpnSpec",
    "HeadSpec",
    "InputSpec",
    "LabelSpec",
    "LossSpec",
    "MatchingSpec",
    "Metric",
    "ModelSpec",
    "NormSpec",
    "PostprocessSpec",
    "PriorLevel",
    "PriorsSpec",
    "WeightsSpec",
]
