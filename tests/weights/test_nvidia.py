"""Checkpoints of NVIDIA's SSD300 and of MLPerf's: every tensor finds its place, odd files are one sentence."""

from __future__ import annotations

import re
from collections import Counter
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.prediction.nvidia_hub import NvidiaSSD
from multibox.weights.importers import Foreign, mlperf, nvidia
from multibox.weights.source import Loaded
from multibox.zoo import load_spec
from multibox.zoo.convert import convert
from multibox.zoo.models import assemble, load_model
from nvidia_files import PlainSSD300, their_state

NAMES = ("cat", "dog", "cow")
NVIDIA = "ssd300_resnet18.nvidia_coco"
MLPERF = "ssd300_resnet34.mlperf_coco"


@lru_cache
def _model(sheet: str, names: tuple[str, ...] = NAMES) -> SSD:
    torch.manual_seed(0)
    model = build_model(load_spec(sheet).with_names(names)).eval()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_()  # type: ignore[union-attr,operator]
    return model


def _load(folder: Path, state: dict[str, Tensor], **also: Any) -> SSD:
    torch.save({"epoch": 65, **also, "model": state}, folder / "epoch_64.pt")
    return load_model(folder / "epoch_64.pt")


def _same(own: SSD, other: SSD) -> bool:
    ours, others = own.state_dict(), other.state_dict()
    return ours.keys() == others.keys() and all(torch.equal(ours[key], others[key]) for key in ours)


@pytest.mark.parametrize("prefix", ["", "module.", "module.1.", "1."])
@pytest.mark.parametrize("sheet", [NVIDIA, MLPERF])
def test_a_file_of_ones_own_classes_is_read_whatever_wrapped_it(tmp_path: Path, sheet: str, prefix: str) -> None:
    model = _model(sheet)
    again = _load(tmp_path, their_state(model, prefix))
    assert _same(model, again) and again.spec.name == sheet
    assert again.spec.labels.names == ("class 1", "class 2", "class 3")


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_the_blocks_of_the_trunk_tell_which_resnet_it_is(depth: int) -> None:
    stages = {18: (2, 2, 2), 34: (3, 4, 6), 50: (3, 4, 6), 101: (3, 4, 23), 152: (3, 8, 36)}[depth]
    trunk = "feature_extractor.feature_extractor"
    state = {f"{trunk}.0.weight": torch.zeros(1), "loc.0.bias": torch.zeros(16), "conf.0.bias": torch.zeros(324)}
    for stage, blocks in zip("456", stages, strict=True):
        for block in range(blocks):
            convolutions = 3 if depth >= 50 else 2
            state |= {f"{trunk}.{stage}.{block}.conv{i + 1}.weight": torch.zeros(1) for i in range(convolutions)}
    found = nvidia.read(Foreign(state=state))
    assert found is not None and found.sheet == f"ssd300_resnet{depth}.nvidia_coco"
    assert load_spec(found.sheet).backbone.name.startswith(f"timm/resnet{depth}.")


@torch.no_grad()
@pytest.mark.parametrize("depth", [18, 34, 50, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (101, 152))])
def test_every_trunk_computes_what_the_network_on_torchvisions_does(depth: int) -> None:
    torch.manual_seed(depth)
    plain = PlainSSD300(depth, columns=4).eval()
    for layer in plain.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.2, 0.4)  # so that deep trunks stay within bounds
    found = nvidia.read(Foreign(state=plain.state_dict()))
    assert found is not None
    model = NvidiaSSD(assemble(Loaded(sheet=found.sheet, state=found.state), "it"))
    images = torch.randn(1, 3, 300, 300)
    for ours, wanted in zip(model(images), plain(images), strict=True):
        assert (ours - wanted).abs().max() <= 1e-4 * wanted.std()


def test_a_trunk_of_another_kind_is_one_sentence(tmp_path: Path) -> None:
    state = {key: value for key, value in their_state(_model(NVIDIA)).items() if ".6.1." not in key}
    with pytest.raises(ModelError, match=r"epoch_64\.pt: its trunk has stages of 2, 2, 1 blocks, which is no ResNet"):
        _load(tmp_path, state)


@pytest.mark.parametrize(
    ("label_map", "names"),
    [
        ({0: "background", 1: "cat", 2: "dog", 3: "cow"}, NAMES),
        ({3: "cow", 1: "cat", 2: "dog"}, NAMES),
        ({}, ("class 1", "class 2", "class 3")),
        ({0: "background", 1: "cat"}, ("class 1", "class 2", "class 3")),
        ({1: 1, 2: 2, 3: 3}, ("class 1", "class 2", "class 3")),
        ({1: "cat", 2: "dog", 17: "cow"}, ("class 1", "class 2", "class 3")),
        (None, ("class 1", "class 2", "class 3")),
    ],
)
def test_names_are_those_of_the_label_map_where_it_has_one_per_column(
    label_map: object, names: tuple[str, ...], tmp_path: Path
) -> None:
    state = their_state(_model(NVIDIA))
    assert _load(tmp_path, state, label_map=label_map).spec.labels.names == names


def test_what_a_training_saves_beside_the_weights_does_not_stand_in_the_way(tmp_path: Path) -> None:
    model = _model(NVIDIA, load_spec(NVIDIA).labels.names)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[43, 54])
    assert isinstance(scheduler.state_dict()["milestones"], Counter)
    table = {0: "background", **dict(enumerate(model.spec.labels.names, start=1))}
    also = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(), "label_map": table}
    again = _load(tmp_path, their_state(model), **also)
    assert _same(model, again) and again.spec == load_spec(NVIDIA)


def test_weights_in_half_precision_become_full(tmp_path: Path) -> None:
    model = deepcopy(_model(NVIDIA)).half().float()
    state = {key: value.half() if value.is_floating_point() else value for key, value in their_state(model).items()}
    assert _same(model, _load(tmp_path, state))


def test_predictors_that_do_not_fit_each_other_are_one_sentence() -> None:
    first = {"feature_extractor.feature_extractor.0.weight": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"'loc\.0\.bias', which tells how many priors .* is missing or odd"):
        nvidia.read(Foreign(state=first | {"conf.0.bias": torch.zeros(324)}))
    with pytest.raises(ModelError, match=r"'conf\.0\.bias' has 323 rows, which 4 priors per cell do not share"):
        nvidia.read(Foreign(state=first | {"loc.0.bias": torch.zeros(16), "conf.0.bias": torch.zeros(323)}))


@pytest.mark.parametrize(
    "key", ["feature_extractor.feature_extractor.7.0.conv1.weight", "additional_blocks.0.2.weight"]
)
def test_a_tensor_that_is_too_many_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(ModelError, match=re.escape(f"'{key}' is unknown")):
        _load(tmp_path, their_state(_model(NVIDIA)) | {key: torch.zeros(1)})


def test_a_tensor_that_is_too_few_is_named(tmp_path: Path) -> None:
    state = their_state(_model(MLPERF))
    del state["additional_blocks.0.0.bias"]
    with pytest.raises(ModelError, match=re.escape("'extras.blocks.0.0.bias' is missing, 1 such")):
        _load(tmp_path, state)


def test_a_file_that_is_cut_off_is_one_sentence(tmp_path: Path) -> None:
    _load(tmp_path, their_state(_model(NVIDIA)))
    whole = (tmp_path / "epoch_64.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"half\.pt: cut off or damaged"):
        load_model(tmp_path / "half.pt")


@pytest.mark.parametrize("read", [nvidia.read, mlperf.read])
@pytest.mark.parametrize(
    "keys",
    [
        ("layer1.0.conv1.weight", "fc.weight"),
        ("model.layer1.0.conv1.weight", "model.fc.weight"),
        ("feature_extractor.feature_extractor.0.weight",),
        ("loc.0.weight", "conf.0.weight", "vgg.0.weight"),
    ],
)
def test_other_networks_are_not_claimed(read: Any, keys: tuple[str, ...]) -> None:
    assert read(Foreign(state=dict.fromkeys(keys, torch.zeros(1)))) is None


def test_neither_codebase_claims_the_other() -> None:
    assert nvidia.read(Foreign(state=their_state(_model(MLPERF)))) is None
    assert mlperf.read(Foreign(state=their_state(_model(NVIDIA)))) is None


def test_a_file_of_mlperfs_inference_benchmark_has_the_same_keys_and_is_told_by_the_user(tmp_path: Path) -> None:
    model = _model(MLPERF, load_spec(MLPERF).labels.names)
    torch.save(their_state(model), tmp_path / "weights.pt")
    assert load_model(tmp_path / "weights.pt").spec.name == MLPERF
    found = convert(tmp_path / "weights.pt", tmp_path / "large.safetensors", "ssd1200_resnet34.mlperf_coco")
    assert found.spec == load_spec("ssd-resnet34")
    assert _same(model, load_model(found.file))
