"""Which sheets stand for all of them where a test runs the network: one of each, as many differ in priors, classes or
thresholds alone.
"""

from __future__ import annotations

import numpy as np
import torch

from multibox.exporting.check import sample_images
from multibox.images.prepare import prepare
from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.network.normalize import Normalize
from multibox.spec import ModelSpec
from multibox.zoo import list_models, load_spec

LIGHT = 1_500_000_000
"""Multiply-accumulate operations for one image, up to which a network is computed with in tests over all sheets.

Where a sheet does not state them, only networks with depthwise separable heads count as light.
"""


def named(name: str) -> ModelSpec:
    """The spec of a sheet; with three classes where it has none."""
    spec = load_spec(name)
    return spec if spec.labels.names else spec.with_names(("cat", "dog", "kettle"))


def light_networks() -> list[str]:
    """Names of sheets, the first of every light network: what differs in priors or classes alone is not run twice."""
    chosen: dict[object, str] = {}
    for name in list_models():
        spec = load_spec(name)
        macs = spec.check.macs if spec.check else None
        if (macs or LIGHT) <= LIGHT and (macs or spec.head.kind == "separable"):
            size = (spec.input.height, spec.input.width)
            network = (size, spec.backbone, spec.extras, spec.fpn, spec.head, spec.neck_norm)
            chosen.setdefault(network, name)
    return list(chosen.values())


def pixels(spec: ModelSpec) -> np.ndarray:
    """Photos at the size of the network, uint8 [n, h, w, 3]."""
    return np.stack([prepare(image, spec.input).pixels for image in sample_images()])


@torch.no_grad()
def lively(spec: ModelSpec, *, logits: float = 0.5, offsets: float = 0.15) -> SSD:
    """A network with random weights whose norms fit photos, and whose logits and offsets have that standard deviation.

    Random networks multiply rounding: the wider the spread, the farther two runtimes are apart.
    """
    torch.manual_seed(0)
    model = build_model(spec)
    images = Normalize(spec.input)(torch.from_numpy(pixels(spec)))
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None  # the plain average
    model.train()(images)
    predictions = model.eval()(images)
    for name, weight in model.head.named_parameters():
        if weight.ndim == 4 and weight.shape[1] > 1 and ("classes" in name or "boxes" in name or "predictor" in name):
            classes = "class" in name
            weight.mul_((logits if classes else offsets) / predictions[0 if classes else 1].std().clamp(min=1e-6))
    return model
