"""mmdetection's checkpoints of every age become ours: keys, the background's column, the names of the classes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.weights.importers import Foreign, mmdet
from multibox.zoo import load_spec
from multibox.zoo.models import load_model

NAMES = ("cat", "dog", "cow")
V2_REPEATS = (1, 2, 3, 4, 3, 3, 1)


def _model(sheet: str, names: tuple[str, ...] = NAMES) -> SSD:
    torch.manual_seed(0)
    return build_model(load_spec(sheet).with_names(names)).eval()


def _background_last(rows: Tensor, columns: int) -> Tensor:
    return torch.stack([torch.cat([shape[1:], shape[:1]]) for shape in rows.split(columns)]).reshape(rows.shape)


def _vgg_file(model: SSD, *, old: bool) -> dict[str, Tensor]:
    """The state under mmdetection's keys of 2.14, or of 2.0."""
    theirs: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        *parts, kind = key.split(".")
        if parts[:2] == ["backbone", "layers"]:
            name = f"backbone.features.{parts[2]}"
        elif parts[:2] == ["backbone", "first_norm"]:
            name, kind = ("backbone" if old else "neck") + ".l2_norm", "weight"
        elif parts[0] == "extras":
            block, half = int(parts[2]), int(parts[3]) // 2
            name = f"backbone.extra.{2 * block + half}" if old else f"neck.extra_layers.{block}.{half}.conv"
        else:
            name = f"bbox_head.{'cls' if parts[1] == 'classes' else 'reg'}_convs.{parts[2]}" + ("" if old else ".0")
        theirs[f"{name}.{kind}"] = _background_last(value, model.spec.columns) if parts[1] == "classes" else value
    return theirs


def _lite_file(model: SSD) -> dict[str, Tensor]:
    """SSDLite's state under mmdetection's keys."""
    stages = [(stage, block) for stage, count in enumerate(V2_REPEATS, start=1) for block in range(count)]
    theirs: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        *parts, kind = key.split(".")
        layer = {"0": "conv", "1": "bn"}
        if parts[:3] == ["backbone", "features", "0"] or parts[:3] == ["backbone", "features", "18"]:
            name = f"backbone.conv{1 if parts[2] == '0' else 2}.{layer[parts[3]]}"
        elif parts[0] == "backbone":
            stage, block = stages[int(parts[2]) - 1]
            names = (
                ["depthwise_conv", "linear_conv"] if stage == 1 else ["expand_conv", "depthwise_conv", "linear_conv"]
            )
            place = min(int(parts[4]), len(names) - 1)
            inner = layer[parts[5]] if len(parts) > 5 else layer[str(int(parts[4]) - place)]
            name = f"backbone.layer{stage}.{block}.{names[place]}.{inner}"
        elif parts[0] == "extras":
            name = f"neck.extra_layers.{parts[2]}." + ["0", "1.depthwise_conv", "1.pointwise_conv"][int(parts[3])]
            name += f".{layer[parts[4]]}"
        else:
            name = f"bbox_head.{'cls' if parts[1] == 'classes' else 'reg'}_convs.{parts[2]}.{parts[3]}"
            name += f".{layer[parts[4]]}" if parts[3] == "0" else ""
        last = parts[1] == "classes" and parts[3] == "1"
        theirs[f"{name}.{kind}"] = _background_last(value, model.spec.columns) if last else value
    return theirs


def _load(tmp_path: Path, state: dict[str, Tensor], meta: dict[str, Any] | None = None) -> SSD:
    torch.save({"meta": meta or {}, "state_dict": state}, tmp_path / "epoch_24.pth")
    return load_model(tmp_path / "epoch_24.pth")


def _same(own: SSD, other: SSD) -> bool:
    ours, others = own.state_dict(), other.state_dict()
    return ours.keys() == others.keys() and all(torch.equal(ours[key], others[key]) for key in ours)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("size", [300, 512])
def test_a_vgg_file_of_ones_own_classes_is_read_whatever_its_age(tmp_path: Path, size: int, old: bool) -> None:
    model = _model(f"ssd{size}_vgg16.mmdet_coco")
    again = _load(tmp_path, _vgg_file(model, old=old), {"CLASSES": NAMES, "mmdet_version": "2.13.0"})
    assert _same(model, again) and again.spec.name == model.spec.name and again.spec.labels.names == NAMES


def test_an_ssdlite_file_of_ones_own_classes_is_read(tmp_path: Path) -> None:
    model = _model("ssdlite320_mobilenet_v2.mmdet_coco")
    again = _load(tmp_path, _lite_file(model), {"dataset_meta": {"classes": list(NAMES), "palette": [(0, 0, 0)]}})
    assert _same(model, again) and again.spec.labels.names == NAMES


@pytest.mark.parametrize(
    ("meta", "names"),
    [
        ({}, ()),
        ({"CLASSES": None}, ()),
        ({"CLASSES": ("cat", "dog")}, ("cat", "dog")),
        ({"CLASSES": "cat"}, ()),
        ({"dataset_meta": {"CLASSES": ["cat"]}}, ("cat",)),
        ({"dataset_meta": None}, ()),
    ],
)
def test_names_are_those_of_the_file_where_it_has_some(meta: dict[str, Any], names: tuple[str, ...]) -> None:
    found = mmdet.read(Foreign(state=_vgg_file(_model("ssd300_vgg16.mmdet_coco"), old=False), about={"meta": meta}))
    assert found is not None and found.names == names


@pytest.mark.parametrize(("classes", "dataset"), [(80, "coco"), (20, "voc"), (601, "voc"), (2, "coco")])
def test_the_class_count_tells_the_priors(classes: int, dataset: str) -> None:
    rows = {
        "neck.l2_norm.weight": torch.ones(512),
        "bbox_head.cls_convs.0.0.bias": torch.arange(4.0 * (classes + 1)),
        "bbox_head.reg_convs.0.0.bias": torch.zeros(16),
    }
    found = mmdet.read(Foreign(state=rows))
    assert found is not None and found.sheet == f"ssd300_vgg16.mmdet_{dataset}"
    moved = found.state["head.classes.0.bias"].view(4, -1)
    assert moved[:, 0].tolist() == [classes + i * (classes + 1) for i in range(4)] and moved[0, 1] == 0


def test_files_of_mmdetection_1_are_refused() -> None:
    state = _vgg_file(_model("ssd300_vgg16.mmdet_coco"), old=True)
    with pytest.raises(ModelError, match=r"written by mmdetection 1\.2\.0, whose anchors"):
        mmdet.read(Foreign(state=state, about={"meta": {"mmdet_version": "1.2.0"}}))


def test_predictors_that_do_not_fit_each_other_are_one_sentence() -> None:
    rows = {
        "neck.l2_norm.weight": torch.ones(512),
        "bbox_head.cls_convs.0.0.bias": torch.zeros(84),
        "bbox_head.reg_convs.0.0.bias": torch.zeros(20),
    }
    with pytest.raises(ModelError, match="has 84 rows, which no box predictor"):
        mmdet.read(Foreign(state=rows))
    rows |= {"bbox_head.reg_convs.0.0.bias": torch.zeros(16), "bbox_head.cls_convs.1.0.bias": torch.zeros(80)}
    with pytest.raises(ModelError, match="80 rows, which are no multiple of 21 columns"):
        mmdet.read(Foreign(state=rows))


def test_a_tensor_that_is_too_many_is_named(tmp_path: Path) -> None:
    state = _vgg_file(_model("ssd300_vgg16.mmdet_coco"), old=False) | {"neck.spare.weight": torch.zeros(1)}
    with pytest.raises(ModelError, match=re.escape("'neck.spare.weight' is unknown")):
        _load(tmp_path, state)


def test_other_detectors_of_mmdetection_are_not_claimed() -> None:
    retina = {"backbone.conv1.weight": torch.zeros(1), "bbox_head.cls_convs.0.conv.weight": torch.zeros(1)}
    assert mmdet.read(Foreign(state=retina)) is None


def test_the_log_inside_a_file_of_mmdetection_3_does_not_stand_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mmengine pickles its log as objects of its own, which are made here without any of its code."""
    module = ModuleType("mmengine.logging.history_buffer")
    kind = type("HistoryBuffer", (), {"__module__": module.__name__})
    module.HistoryBuffer = kind  # type: ignore[attr-defined]
    model, log = _model("ssd300_vgg16.mmdet_coco"), kind()
    log.__dict__.update(_log_history=np.array([2.5, 1.5]), _count_history=np.array([1, 1]), max_length=10)
    content = {"state_dict": _vgg_file(model, old=False), "message_hub": {"log_scalars": {"loss": log}}}
    with monkeypatch.context() as patch:
        for name in ("mmengine", "mmengine.logging"):
            patch.setitem(sys.modules, name, ModuleType(name))
        patch.setitem(sys.modules, module.__name__, module)
        torch.save(content | {"meta": {"loss": np.float64(1.5)}}, tmp_path / "epoch_24.pth")
    assert _same(model, load_model(tmp_path / "epoch_24.pth"))
