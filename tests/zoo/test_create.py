"""Models on any backbone, for any input."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from multibox import create_model
from multibox.boxes.coding import to_corners
from multibox.boxes.overlap import pairwise_iou
from multibox.boxes.priors import make_priors, shapes_per_cell
from multibox.errors import ModelError, MultiboxError, UsageError
from multibox.exporting.onnx import export_onnx
from multibox.network.backbones import _OWN, make_backbone
from multibox.network.build import build_model, map_sizes
from multibox.network.model import SSD
from multibox.sheet import read_sheet, write_sheet
from multibox.spec import BackboneSpec, ModelSpec
from multibox.weights import checkpoint
from multibox.zoo import load_spec
from multibox.zoo.backbone_choice import _TAPS, choose_backbone
from multibox.zoo.create import create_spec
from multibox.zoo.models import load_model
from multibox.zoo.scaling import layout_of

NAMES = ("cat", "dog")
FAMILIES = ("ssd300", "ssd512", "ssdlite320", "ssd320_fpnlite")
MADE = [
    ("ssdlite320", "mobilenetv4_conv_small", 320),
    ("ssd300", "resnet18", 512),
    ("ssdlite320", "efficientnet_lite0", (256, 448)),
    ("ssd300", "convnext_atto", 300),
    ("ssd320_fpnlite", "regnety_002", (720, 1280)),
    ("ssdlite320", "ghostnet_100", 512),
    ("ssd512", "repvgg_a0", (256, 448)),
    ("ssd320_fpnlite", "edgenext_xx_small", 300),
    ("ssdlite320", "lcnet_050", (720, 1280)),
    ("ssd300", "vgg11", 320),
    ("ssdlite320", "swin_tiny_patch4_window7_224", (256, 448)),
    ("ssdlite320", "torchvision/mobilenet_v2", (448, 256)),
]
BACKBONES = sorted({backbone for _, backbone, _ in MADE} | {"mobileone_s0", "convnextv2_femto", "maxvit_nano_rw_256"})
SIZES = (320, 512, (256, 448), (720, 1280))


def on_meta(spec: ModelSpec) -> SSD:
    """The network without numbers."""
    with torch.device("meta"):
        return build_model(spec).eval()


def assert_lawful(spec: ModelSpec) -> None:
    """What the network gives is what the priors say, and these cover the input."""
    model = on_meta(spec)
    size = (spec.input.height, spec.input.width)
    layout = layout_of(spec, map_sizes([model.backbone], spec))
    counts = [shapes_per_cell(level) for level in spec.priors.levels]
    with torch.no_grad():
        logits, offsets = model(torch.zeros(2, 3, *size, device="meta"))
    total = sum(height * width * count for (height, width), count in zip(layout.maps, counts, strict=True))
    assert logits.shape == (2, total, spec.columns) and offsets.shape == (2, total, 4)
    assert model.level_sizes == tuple(h * w * n for (h, w), n in zip(layout.maps, counts, strict=True))
    assert list(layout.cells) == sorted(set(layout.cells), reverse=True)
    boxes = to_corners(make_priors(spec.priors, size, layout.maps))
    # some prior overlaps every large object well: squares along the input's longer side, and all of it if not too long
    shorter = torch.tensor([min(size) / size[1], min(size) / size[0]])
    places = torch.linspace(0, 1, 9)[:, None] * (1 - shorter)
    objects = torch.cat([torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.cat([places, places + shorter], 1)])
    objects = objects[int(max(size) > 3 * min(size)) :]
    assert pairwise_iou(objects, boxes).amax(1).min() > 0.5


@pytest.mark.parametrize(("family", "backbone", "size"), MADE)
def test_a_backbone_makes_a_lawful_model(family: str, backbone: str, size: int | tuple[int, int]) -> None:
    assert_lawful(create_spec(family, backbone, NAMES, size))


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_makes_a_lawful_model_in_every_family(backbone: str, size: int | tuple[int, int]) -> None:
    for family in FAMILIES:
        try:
            spec = create_spec(family, backbone, NAMES, size)
        except ModelError as error:  # windows that do not divide the input
            assert backbone.startswith("maxvit") and "does not go through the network" in str(error)
        else:
            assert_lawful(spec)


def test_a_new_backbone_on_the_same_maps_changes_neither_priors_nor_levels() -> None:
    spec, sheet = create_spec("ssd300", "resnet18"), load_spec("ssd300_vgg16")
    assert spec.priors == sheet.priors and spec.head == sheet.head and spec.postprocess == sheet.postprocess
    assert spec.backbone == BackboneSpec(name="timm/resnet18", taps=("2", "3", "4"))
    assert spec.extras and sheet.extras and spec.extras.blocks == sheet.extras.blocks[1:]
    assert (spec.extras.kind, spec.extras.activation) == ("conv_norm", "relu")
    assert (spec.name, spec.labels.names) == ("ssd300_resnet18", ())


def test_colours_and_norms_are_those_that_the_weights_of_the_backbone_expect() -> None:
    spec = create_spec("ssdlite320", "tf_efficientnet_lite0")
    assert spec.input.mean == spec.input.std == (127.5, 127.5, 127.5)
    assert (spec.backbone.norm_eps, spec.backbone.norm_momentum) == (1e-3, 0.03)
    spec = create_spec("ssdlite320", "resnet18")
    assert spec.input.mean == (123.675, 116.28, 103.53) and spec.backbone.norm_eps == 1e-5
    spec = create_spec("ssdlite320", "torchvision/mobilenet_v3_small")
    own = load_spec("ssdlite300_mobilenet_v3_small")
    assert spec.input.mean == own.input.mean and spec.backbone == own.backbone


def test_norms_of_a_tap_stay_with_it() -> None:
    assert create_spec("ssd512_mobilenet_v1", "vgg16_atrous").backbone.l2norm is None
    assert create_spec("ssd300_resnet18", "vgg16_atrous").backbone.l2norm == 20.0


def test_a_sheet_stays_itself_where_nothing_else_is_asked_for() -> None:
    assert create_spec("ssd300") == create_spec("ssd300_vgg16", input_size=300) == load_spec("ssd300_vgg16")
    spec = create_spec("ssd300_vgg16.torchvision_coco", names=NAMES)
    assert spec == load_spec("ssd300_vgg16.torchvision_coco").with_names(NAMES)


def test_another_input_drops_what_was_known_of_the_sheet() -> None:
    spec = create_spec("ssd300_vgg16.torchvision_coco", input_size=(256, 448))
    assert (spec.input.height, spec.input.width) == (256, 448)
    assert spec.name == "ssd448x256_vgg16_atrous" and spec.labels == load_spec("ssd300_vgg16.torchvision_coco").labels
    assert (spec.check, spec.metrics, spec.weights, spec.aliases) == (None, (), None, ())


def test_names_say_family_input_and_backbone() -> None:
    assert create_spec("ssd320_fpnlite", "lcnet_050").name == "ssd320_lcnet_050_fpnlite"
    assert create_spec("ssdlite320", "resnet18.a1_in1k", NAMES, (96, 128)).name == "ssdlite128x96_resnet18_a1_in1k"


def test_a_users_sheet_is_a_template_too(tmp_path: Path) -> None:
    write_sheet(load_spec("ssdlite320_mobilenet_v3_large.cells"), tmp_path / "mine.toml")
    spec = create_spec(tmp_path / "mine.toml", "lcnet_050", NAMES, 256)
    assert [len(level.shapes) for level in spec.priors.levels] == [3, 6, 5, 2]
    assert spec.backbone.taps == ("2", "3", "4")


def test_a_created_model_is_written_as_a_sheet_and_read_back(tmp_path: Path) -> None:
    spec = create_spec("ssd320_fpnlite", "mobilenetv4_conv_small", ('a "quoted" name', "naïve"), (256, 448))
    write_sheet(spec, tmp_path / "mine.toml")
    assert read_sheet(tmp_path / "mine.toml") == spec
    assert "# " not in (tmp_path / "mine.toml").read_text() and "null" not in (tmp_path / "mine.toml").read_text()


@pytest.mark.parametrize("family", ["ssd300", "ssdlite320", "ssd320_fpnlite"])
def test_a_created_model_is_saved_and_predicts_the_same_numbers(family: str, tmp_path: Path) -> None:
    model = create_model(family, backbone="lcnet_050", names=NAMES, input_size=(96, 160))
    assert model.training and model.spec.labels.names == NAMES
    model.eval()
    checkpoint.save(tmp_path / "x.safetensors", model.state_dict(), model.spec)
    again = load_model(tmp_path / "x.safetensors")
    images = torch.randn(2, 3, 96, 160)
    with torch.no_grad():
        given, loaded = model(images), again(images)
    assert again.spec == model.spec
    assert all(torch.equal(a, b) for a, b in zip(given, loaded, strict=True))
    assert all(torch.isfinite(part).all() for part in given)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "backbone"),
    [
        ("ssdlite320", "mobilenetv4_conv_small"),
        ("ssd300", "convnext_atto"),
        ("ssd320_fpnlite", "swin_tiny_patch4_window7_224"),
    ],
)
def test_an_exported_model_agrees_with_torch(family: str, backbone: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model(family, backbone=backbone, names=NAMES, input_size=(96, 128)).eval()
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    assert export_onnx(model, tmp_path / "x.onnx", images=[image]).agrees


@pytest.mark.parametrize(
    ("count", "backbones"),
    [
        (4, ("lcnet_050",)),
        pytest.param(120, ("lcnet_050", "convnext_atto", "levit_128s", "inception_v3"), marks=pytest.mark.slow),
    ],
)
def test_any_size_makes_a_lawful_model_or_one_sentence(count: int, backbones: tuple[str, ...]) -> None:
    rng = random.Random(count)
    for index in range(count):
        size = rng.randint(96, 800), rng.randint(96, 800)
        family = FAMILIES[index % len(FAMILIES)]
        backbone = rng.choice(
            ("lcnet_050", "convnext_atto", "levit_128s", "inception_v3") if count > 50 else ("lcnet_050",)
        )
        try:
            spec = create_spec(family, backbone, NAMES, size)
        except MultiboxError as error:
            assert backbone in ("levit_128s", "inception_v3") and "\n" not in str(error)
        else:
            assert_lawful(spec)


@pytest.mark.parametrize("name", _TAPS)
def test_the_taps_of_a_backbone_have_the_strides_that_they_are_listed_under(name: str) -> None:
    choice = choose_backbone(name)
    with torch.device("meta"):
        trunk = make_backbone(replace(choice.spec, taps=tuple(choice.taps.values()))).eval()
        maps = trunk(torch.zeros(1, 3, 512, 640))
    strides = [(512 / m.shape[2], 640 / m.shape[3]) for m in maps]
    assert strides == [pytest.approx((s, s), rel=0.05) for s in choice.taps]  # SqueezeNet has no padding


def test_every_backbone_of_our_own_can_be_chosen() -> None:
    assert {"vgg16_atrous", *_OWN} <= set(_TAPS)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"architecture": "ssdlit320"}, "no model 'ssdlit320'; did you mean 'ssdlite320'"),
        ({"backbone": "resnet19"}, "no backbone 'resnet19'; did you mean 'resnet18'"),
        ({"backbone": "torchvision/mobilenet_v4"}, "did you mean 'torchvision/mobilenet_v2'"),
        ({"backbone": "hf-hub:timm/resnet18"}, "no backbone"),
        ({"backbone": "vit_tiny_patch16_224"}, "has no map at stride 8, which this model needs; its strides are 16"),
        ({"backbone": "efficientvit_m0"}, "'timm/efficientvit_m0' has no map at stride 8"),
        ({"architecture": "ssd320_fpnlite", "backbone": "vgg16_atrous"}, "has no map at stride 32"),
        ({"backbone": "tresnet_m", "input_size": 8}, "an input of 8x8"),
        ({"backbone": "maxvit_nano_rw_256", "input_size": 300}, "300x300 does not go through the network"),
        ({"backbone": "resnet18", "input_size": 16}, "an input of 16x16 is too small"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(words: dict, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence) as failure:
        create_spec(**{"architecture": "ssd300", **words})
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"names": "cat"}, "names are a list of words"),
        ({"names": (1, 2)}, "names are a list of words"),
        ({"names": ("cat", "cat")}, "'cat' is given twice"),
        ({"names": None}, "ssd300_vgg16 has no class names"),
        ({"input_size": (1, 2, 3)}, "neither a side nor"),
        ({"input_size": -3}, "neither a side nor"),
        ({"input_size": "320"}, "neither a side nor"),
    ],
)
def test_words_that_mean_nothing_are_refused(words: dict, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        create_model("ssd300", **{"names": NAMES, **words})
