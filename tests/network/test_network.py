"""Laws that every network keeps: shapes, priors, backbones by any name, one sentence for what does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.network.cost import count_macs
from multibox.network.inference import Inference
from multibox.network.layers import flatten
from multibox.network.normalize import Normalize
from multibox.spec import BackboneSpec, HeadSpec, InputSpec, ModelSpec, PriorLevel, PriorsSpec
from multibox.zoo import list_models, load_spec
from sheets import light_networks, named

NAMES = ("cat", "dog", "kettle")


def _spec(name: str = "ssdlite320_mobilenet_v3_large") -> ModelSpec:
    spec = load_spec(name)
    return spec if spec.labels.names else spec.with_names(NAMES)


def _on(backbone: BackboneSpec, levels: int, size: tuple[int, int] = (160, 160)) -> ModelSpec:
    """SSDLite with another backbone, `levels` maps in all, and another input size (height, width)."""
    spec = _spec()
    assert spec.extras is not None
    blocks = spec.extras.blocks[: levels - len(backbone.taps)]
    return replace(
        spec,
        backbone=backbone,
        extras=replace(spec.extras, blocks=blocks),
        priors=replace(spec.priors, levels=spec.priors.levels[:levels]),
        input=replace(spec.input, height=size[0], width=size[1]),
    )


def every_sheet() -> list[Any]:
    """All; in the quick suite one of each architecture."""
    quick = {name.partition(".")[0]: name for name in reversed(list_models())}.values()
    return [pytest.param(name, marks=[] if name in quick else pytest.mark.slow) for name in list_models()]


@pytest.mark.parametrize("name", every_sheet())
def test_every_sheet_builds_with_the_priors_and_parameters_it_states(name: str) -> None:
    spec = named(name)
    with torch.device("meta"):
        model = build_model(spec)
        logits, offsets = model.eval()(torch.zeros(1, 3, spec.input.height, spec.input.width))
    assert sum(model.level_sizes) == len(model.priors)
    assert logits.shape == (1, len(model.priors), spec.columns) and offsets.shape == (1, len(model.priors), 4)
    if spec.check is not None:
        assert len(model.priors) == spec.check.priors
        assert sum(p.numel() for p in model.parameters()) == spec.check.parameters
        assert spec.check.macs is None or count_macs(model) == spec.check.macs


@pytest.mark.parametrize("name", light_networks())
def test_every_light_network_gives_finite_numbers(name: str) -> None:
    spec = named(name)
    model = build_model(spec).eval()
    with torch.no_grad():
        logits, offsets = model(torch.zeros(1, 3, spec.input.height, spec.input.width))
    assert bool(logits.isfinite().all()) and bool(offsets.isfinite().all())


@pytest.mark.parametrize(
    ("name", "taps", "channels"),
    [
        ("timm/mobilenetv3_small_100", ("3", "4"), [48, 576]),
        ("timm/resnet18", ("2", "3", "4"), [128, 256, 512]),
        ("timm/mobilenetv2_100", ("3", "head"), [96, 1280]),
        ("timm/efficientnet_b0", ("head",), [1280]),
        ("timm/convnext_atto", ("2", "3"), [160, 320]),
        ("torchvision/mobilenet_v2", ("13.expand", "18"), [576, 1280]),
        ("torchvision/mobilenet_v3_small", ("9.expand", "12"), [288, 576]),
    ],
)
def test_any_backbone_works_by_name(name: str, taps: tuple[str, ...], channels: list[int]) -> None:
    model = build_model(_on(BackboneSpec(name=name, taps=taps), levels=len(taps) + 2)).eval()
    assert model.backbone.channels == channels
    with torch.no_grad():
        maps = model.backbone(torch.zeros(1, 3, 160, 160))
        logits, _ = model(torch.zeros(1, 3, 160, 160))
    assert [m.shape[1] for m in maps] == channels
    assert logits.shape[1] == len(model.priors)


def test_a_wide_input_lays_priors_on_wide_maps() -> None:
    spec = _on(BackboneSpec(name="timm/mobilenetv3_small_100", taps=("3", "4")), levels=4, size=(160, 320))
    model = build_model(spec).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 160, 320)).logits.shape == (2, len(model.priors), 4)
    assert model.level_sizes[0] == 10 * 20 * 6
    centers = model.priors[: model.level_sizes[0], :2]
    assert len(centers[:, 0].unique()) == 20 and len(centers[:, 1].unique()) == 10


def test_norm_numbers_of_the_sheet_reach_every_batch_norm() -> None:
    backbone = BackboneSpec(name="timm/mobilenetv2_100", taps=("3", "4"), norm_eps=2e-3, norm_momentum=0.07)
    norms = [m for m in build_model(_on(backbone, levels=4)).modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and all(norm.eps == 2e-3 and norm.momentum == 0.07 for norm in norms)


def test_a_map_holds_the_predictions_of_its_own_cells() -> None:
    """A change in the right upper cell of a map moves the predictions of the priors there, and of no far ones."""
    model = build_model(_spec()).eval()
    row = torch.randn(1, 672, 20, 20)
    other = row.clone()
    other[..., 0, 19] += 1.0
    with torch.no_grad():
        difference = (_first_level(model, row) - _first_level(model, other)).abs().amax(-1)[0] > 0
    centers = model.priors[: model.level_sizes[0], :2][difference]
    assert len(centers) and bool((centers[:, 0] > 0.85).all()) and bool((centers[:, 1] < 0.15).all())


def _first_level(model: torch.nn.Module, level: torch.Tensor) -> torch.Tensor:
    return flatten(model.head.boxes[0](level), 4)


def test_prior_probability_is_where_the_scores_of_a_sigmoid_model_start() -> None:
    spec = replace(
        _spec(), activation="sigmoid", background=False, head=HeadSpec(kind="separable", prior_probability=0.01)
    )
    _, scores = Inference(build_model(spec).eval())(torch.full((1, 320, 320, 3), 127, dtype=torch.uint8))
    assert scores.shape[-1] == len(NAMES)
    assert scores.median().item() == pytest.approx(0.01, rel=0.2)


def test_inference_gives_clipped_boxes_and_foreground_scores() -> None:
    model = build_model(_spec()).eval()
    with torch.no_grad():
        boxes, scores = Inference(model)(torch.randint(0, 256, (2, 320, 320, 3), dtype=torch.uint8))
    assert boxes.shape == (2, 3234, 4) and scores.shape == (2, 3234, len(NAMES))
    assert boxes.min().item() >= 0.0 and boxes.max().item() <= 1.0
    assert bool((scores.sum(-1) < 1.0).all())


def test_normalize_takes_rgb_and_gives_the_order_of_the_sheet() -> None:
    spec = InputSpec(height=1, width=1, color="bgr", mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 4.0))
    out = Normalize(spec)(torch.tensor([[[[11, 22, 33]]]], dtype=torch.uint8))
    assert out.flatten().tolist() == [32.0, 10.0, 2.0]


@pytest.mark.parametrize("pool_ceil", ["pool3", "all"])
def test_vgg_at_300_has_the_maps_of_the_paper(pool_ceil: str) -> None:
    spec = _spec("ssd300_vgg16")
    model = build_model(replace(spec, backbone=replace(spec.backbone, pool_ceil=pool_ceil)))
    assert model.level_sizes == (38 * 38 * 4, 19 * 19 * 6, 10 * 10 * 6, 5 * 5 * 6, 3 * 3 * 4, 4)


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        (BackboneSpec(name="resnet18", taps=("1",)), "no backbone 'resnet18'"),
        (BackboneSpec(name="timm/resnet81", taps=("1",)), "did you mean 'resnet18"),
        (BackboneSpec(name="timm/resnet18", taps=("head",)), "no tap 'head'"),
        (BackboneSpec(name="timm/resnet18", taps=("layer4",)), "rising indexes"),
        (BackboneSpec(name="timm/resnet18", taps=("9",)), "cannot be made"),
        (BackboneSpec(name="timm/resnet18", taps=("4",), padding="same"), "padding 'same'"),
        (BackboneSpec(name="torchvision/resnet18", taps=("4",)), "no torchvision backbone"),
        (BackboneSpec(name="torchvision/mobilenet_v2", taps=("4.inside",)), "no tap '4.inside'"),
        (BackboneSpec(name="vgg16_atrous", taps=("conv5_3",)), "no tap 'conv5_3'"),
    ],
)
def test_a_wrong_backbone_is_one_sentence(backbone: BackboneSpec, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        build_model(_on(backbone, levels=3))
    assert "\n" not in str(caught.value)


def test_a_model_without_names_or_with_other_levels_than_maps_is_refused() -> None:
    with pytest.raises(ModelError, match="no class names"):
        build_model(load_spec("ssd300_vgg16"))
    spec = _spec()
    priors = PriorsSpec(levels=(PriorLevel(min_size=30.0),))
    with pytest.raises(ModelError, match="priors for 1 levels, but the network has 6 maps"):
        build_model(replace(spec, priors=priors))


def test_an_input_too_small_for_the_network_is_one_sentence() -> None:
    spec = _spec("ssd300_vgg16")
    with pytest.raises(ModelError, match="an input of 100x100 does not go through"):
        build_model(replace(spec, input=replace(spec.input, height=100, width=100)))
