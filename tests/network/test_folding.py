"""Batch norms folded into convolutions leave what the network computes as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from multibox.network.folding import fold_norms
from sheets import lively, named


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "ssd320_mobilenet_v2_fpnlite.coco"])
def test_the_network_computes_the_same_and_its_norms_change_nothing(name: str) -> None:
    model = lively(named(name)).eval()
    folded = fold_norms(copy.deepcopy(model))
    image = torch.randn(1, 3, model.spec.input.height, model.spec.input.width)
    with torch.inference_mode():
        for before, after in zip(model(image), folded(image), strict=True):
            assert float((before - after).abs().max()) < 1e-4 * float(before.abs().max())
    norms = [part for part in folded.backbone.modules() if isinstance(part, _BatchNorm)]
    assert len(norms) > 10
    assert not any(bool(norm.running_mean.any()) or bool(norm.bias.any()) for norm in norms)
    assert folded.state_dict().keys() >= model.state_dict().keys()
