"""Random weights that cost as much time as trained ones: what passes the threshold is about as much as after training.

A fresh network is of no use to a stopwatch: either nothing passes its threshold or nearly everything does, and NMS then
takes no time or all of it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multibox.network.build import build_model
from multibox.network.heads import LevelHead
from multibox.network.model import SSD
from multibox.network.normalize import Normalize
from multibox.network.shared_head import SharedHead
from multibox.spec import ModelSpec

PAIRS = 2000
"""(prior, class) pairs above the threshold on the photo; torchvision's trained SSD300 has about as many."""
_LOGITS, _OFFSETS = 0.5, 0.5
"""Standard deviations; random networks multiply rounding, and wider ones are too far from float64 to be exported."""
_STEPS = 40


@torch.no_grad()
def make_up(spec: ModelSpec, pixels: NDArray[np.uint8], pairs: int = PAIRS) -> SSD:
    """A network of this spec with random weights (always the same ones) of which about `pairs` pairs pass the threshold
    on `pixels` (uint8 [h, w, 3] at network size).

    Batch norms are measured on the picture, head weights are scaled to logits and offsets spread as after training, and
    the bias against objects is raised.
    """
    torch.manual_seed(0)
    model = build_model(spec)
    image = Normalize(spec.input)(torch.from_numpy(np.ascontiguousarray(pixels[None])))
    norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average
    model.train()(torch.cat([image, image.flip(3), image.flip(2)]))
    _spread(model.eval(), image)
    _raise_bias(model, model(image).logits, pairs)
    return model


def passing(logits: Tensor, spec: ModelSpec) -> int:
    """How many (prior, class) pairs of `logits` [n, p, columns] are above the threshold."""
    scores = logits.softmax(-1) if spec.activation == "softmax" else logits.sigmoid()
    return int((scores[..., int(spec.background) :] > spec.postprocess.score_threshold).sum())


def _predictors(model: SSD) -> tuple[list[nn.Conv2d], list[nn.Conv2d]]:
    """The last convolutions of the class and of the box predictors."""
    head = model.head
    if isinstance(head, SharedHead):
        return [_last(head.class_predictor)], [_last(head.box_predictor)]
    assert isinstance(head, LevelHead)
    return [_last(part) for part in head.classes], [_last(part) for part in head.boxes]


def _last(predictor: nn.Module) -> nn.Conv2d:
    """The convolution that makes the numbers."""
    return [layer for layer in predictor.modules() if isinstance(layer, nn.Conv2d)][-1]


def _spread(model: SSD, image: Tensor) -> None:
    """Scales every predictor to outputs of the wanted deviation, its bias left out."""
    found: dict[nn.Module, float] = {}
    hooks = []
    classes, boxes = _predictors(model)
    for layer in (*classes, *boxes):
        hooks.append(layer.register_forward_hook(lambda layer, _, output: found.update({layer: float(output.std())})))
    model(image)
    for hook in hooks:
        hook.remove()
    for layers, wanted in ((classes, _LOGITS), (boxes, _OFFSETS)):
        for layer in layers:
            layer.weight.mul_(wanted / max(found[layer], 1e-6))


def _raise_bias(model: SSD, logits: Tensor, pairs: int) -> None:
    """Moves the bias of the background up, or where there is none that of all classes down, until `pairs` pass."""
    spec = model.spec
    push = torch.zeros(spec.columns)
    if spec.background:
        push[0] = 1.0
    else:
        push -= 1.0
    if spec.background and spec.activation == "sigmoid":
        push[1:] = -1.0
    low, high = -20.0, 40.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if passing(logits + middle * push, spec) > pairs else (low, middle)
    for layer in _predictors(model)[0]:
        assert layer.bias is not None
        layer.bias.view(-1, spec.columns).add_(high * push)
