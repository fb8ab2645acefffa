"""amdegroot's checkpoints become ours; the class count tells by which of its two configs a model was trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.weights.importers import Foreign, amdegroot
from multibox.zoo import load_spec
from multibox.zoo.models import load_model

PARTS = {"backbone.layers": "vgg", "head.classes": "conf", "head.boxes": "loc"}


def _file(model: SSD) -> dict[str, Tensor]:
    """The state under amdegroot's keys."""
    theirs: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        parts = key.split(".")
        if parts[1] == "first_norm":
            theirs["L2Norm.weight"] = value
        elif parts[0] == "extras":
            theirs[f"extras.{2 * int(parts[2]) + int(parts[3]) // 2}.{parts[4]}"] = value
        else:
            theirs[f"{PARTS['.'.join(parts[:2])]}.{parts[2]}.{parts[3]}"] = value
    return theirs


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_file_of_ones_own_classes_is_read(tmp_path: Path, prefix: str) -> None:
    model = build_model(load_spec("ssd300_vgg16.amdegroot_voc").with_names(("cat", "dog"))).eval()
    torch.save({prefix + key: value for key, value in _file(model).items()}, tmp_path / "own.pth")
    again = load_model(tmp_path / "own.pth")
    assert again.spec.labels.names == ("class 1", "class 2") and torch.equal(again.priors, model.priors)
    ours = again.state_dict()
    assert all(torch.equal(ours[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("columns", "dataset"), [(21, "voc"), (201, "coco"), (81, "coco"), (5, "voc")])
def test_the_class_count_tells_the_config(columns: int, dataset: str) -> None:
    state = {key: torch.zeros(1) for key in ("L2Norm.weight", "vgg.0.weight", "loc.0.bias")}
    found = amdegroot.read(Foreign(state=state | {"conf.0.bias": torch.zeros(4 * columns)}))
    assert found is not None and found.sheet == f"ssd300_vgg16.amdegroot_{dataset}"


def test_the_backbone_alone_is_not_claimed() -> None:
    assert amdegroot.read(Foreign(state={"0.weight": torch.zeros(1), "vgg.0.weight": torch.zeros(1)})) is None
