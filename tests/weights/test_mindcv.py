"""MindCV's checkpoints: the network that has no fixture computes what its description says, and files of all kinds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mindcv_v3 import MindCV
from mindspore_files import checkpoint
from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.weights.importers import Foreign, mindcv
from multibox.zoo import load_spec
from multibox.zoo.models import load_model

LEAVES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def load(tmp_path: Path, state: dict[str, Tensor], cut: int | None = None) -> SSD:
    path = tmp_path / "theirs.ckpt"
    path.write_bytes(checkpoint(state)[:cut])
    return load_model(path)


@pytest.fixture(scope="module", params=[81, 4], ids=["coco", "three classes of one's own"])
def mobilenet_v3(request: pytest.FixtureRequest) -> tuple[MindCV, Tensor, tuple[Tensor, Tensor]]:
    theirs = MindCV(columns=int(request.param))
    image = torch.randn(1, 3, 300, 300, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return theirs, image, theirs(image)


@pytest.mark.parametrize("prefix", ["", "network."])
def test_mobilenet_v3_computes_what_its_description_says(
    mobilenet_v3: tuple[MindCV, Tensor, tuple[Tensor, Tensor]], prefix: str, tmp_path: Path
) -> None:
    theirs, image, (logits, offsets) = mobilenet_v3
    ours = load(tmp_path, {prefix + name: value for name, value in theirs.state.items()})
    assert ours.spec.architecture == "ssd300_mobilenet_v3_large"
    assert len(ours.spec.labels.names) == theirs.columns - 1
    with torch.no_grad():
        predictions = ours(image)
    assert (predictions.logits - logits).abs().max() <= 1e-4 * logits.std()
    assert (predictions.offsets - offsets[..., [1, 0, 3, 2]]).abs().max() <= 1e-4 * offsets.std()


def test_files_of_half_precision_or_of_interrupted_training_are_read(
    mobilenet_v3: tuple[MindCV, Tensor, tuple[Tensor, Tensor]], tmp_path: Path
) -> None:
    theirs = mobilenet_v3[0].state
    half = {f"network.{name}": value.half() for name, value in theirs.items()}
    moments = {f"moments.network.{name}": value for name, value in theirs.items() if "moving" not in name}
    counters = {"global_step": torch.ones(1, dtype=torch.int32), "learning_rate": torch.zeros(5)}
    plain, ours = load(tmp_path, theirs), load(tmp_path, {**half, **moments, **counters})
    for (name, value), other in zip(plain.state_dict().items(), ours.state_dict().values(), strict=True):
        assert torch.allclose(value, other, rtol=1e-3, atol=1e-5), name


def their_fpn(ours: SSD) -> dict[str, Tensor]:
    """The tensors of a ResNet-50 FPN under MindCV's names, with a bias in every convolution of the towers."""
    state: dict[str, Tensor] = {}
    swaps = (
        ("backbone.net.", "backbone_wrapper.backbone.net."),
        ("downsample", "down_sample"),
        ("fpn.laterals.", "backbone_wrapper.fpn.lateral_convs_list."),
        ("head.box_predictor.", "multi_box.loc_layers.0."),
        ("head.class_predictor.", "multi_box.cls_layers.0."),
    )
    for key, value in ours.state_dict().items():
        module, _, leaf = key.rpartition(".")
        if leaf == "num_batches_tracked" or key == "priors":
            continue
        parts = module.split(".")
        if parts[1] in ("smooths", "extras"):
            place = "fpn.fpn_convs_list" if parts[1] == "smooths" else "bottom_up.blocks"
            module = f"backbone_wrapper.{place}.{parts[2]}.features.{parts[3]}"
        elif parts[1] in ("box_tower", "class_tower"):
            tower = f"multi_box.addition_layer_{'loc' if parts[1] == 'box_tower' else 'cls'}"
            module = f"{tower}.{'0.' if parts[2] == 'convs' else ''}{'.'.join(parts[3:])}.features"
            module += ".0" if parts[2] == "convs" else ".1"
            if parts[2] == "convs":
                state[f"{module}.bias"] = torch.zeros(len(value))
        for mine, its in swaps:
            module = f"{module}.".replace(mine, its).rstrip(".")
        norm = f"{key.rpartition('.')[0]}.running_mean" in ours.state_dict()
        if ".loc_layers." in module:
            value = value.reshape(-1, 4, *value.shape[1:])[:, [1, 0, 3, 2]].reshape(value.shape)
        state[f"{module}.{LEAVES[leaf] if norm else leaf}"] = value
    return state


@pytest.fixture(scope="module")
def fpn() -> tuple[SSD, dict[str, Tensor]]:
    ours = build_model(load_spec("ssd640_resnet50_fpn.mindcv_coco").with_names(("thing",)))
    return ours, their_fpn(ours)


def test_every_tensor_of_the_pyramid_finds_its_place(fpn: tuple[SSD, dict[str, Tensor]], tmp_path: Path) -> None:
    ours, theirs = fpn
    read = load(tmp_path, theirs)
    assert read.spec.labels.names == ("class 1",)
    for (name, value), other in zip(ours.state_dict().items(), read.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


def test_the_bias_of_a_shared_convolution_goes_into_the_norm_of_every_level(
    fpn: tuple[SSD, dict[str, Tensor]], tmp_path: Path
) -> None:
    ours, theirs = fpn
    bias = torch.arange(256.0)
    read = load(tmp_path, {**theirs, "multi_box.addition_layer_cls.0.2.features.0.bias": bias}).state_dict()
    for name, value in ours.state_dict().items():
        folded = name.startswith("head.class_tower.norms.") and name.endswith(".2.running_mean")
        assert torch.equal(read[name], value - bias if folded else value), name


def test_a_file_that_ends_between_two_parameters_lacks_a_tensor(
    fpn: tuple[SSD, dict[str, Tensor]], tmp_path: Path
) -> None:
    *most, _ = fpn[1].items()
    with pytest.raises(ModelError, match=r"theirs\.ckpt: does not fit .* is missing"):
        load(tmp_path, dict(most))


def test_a_tensor_that_is_not_of_the_network_is_named(fpn: tuple[SSD, dict[str, Tensor]], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"theirs\.ckpt: .*'backbone_wrapper\.backbone\.net\.fc\.weight' is unknown"):
        load(tmp_path, {**fpn[1], "backbone_wrapper.backbone.net.fc.weight": torch.zeros(2, 2)})


def test_other_codebases_files_are_left_alone() -> None:
    for key in ("backbone.features.0.0.weight", "fpn.lateral_convs_list.0.weight", "feature1_expand_layer.0.weight"):
        assert mindcv.read(Foreign(state={key: torch.zeros(1)})) is None
