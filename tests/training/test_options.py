"""Options: ranges, strict files, and the recipe's defaults of each model."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from multibox.errors import UsageError
from multibox.training.options import TrainOptions
from multibox.training.options_file import make_options, read_options, to_table
from multibox.training.resolve import resolve
from multibox.zoo import load_spec

GIVEN = TrainOptions(data="photos", model="ssd300_vgg16")


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0}, {"batch": 0}, {"workers": -1}, {"ema": 1.0}, {"lr0": 0.0}, {"zoom_out": 1.5}, {"flip": -0.1},
        {"negative_ratio": -1.0}, {"box_weight": -1.0}, {"focal_alpha": 1.5}, {"focal_gamma": -1.0},
        {"focal_gamma": 0.5},
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_named(change):
    with pytest.raises(UsageError, match=next(iter(change))):
        replace(GIVEN, **change)


def test_an_unknown_option_is_named_with_the_nearest_one():
    with pytest.raises(UsageError, match=r"unknown option 'epoch'; did you mean 'epochs'"):
        make_options({"data": "photos", "model": "ssd300_vgg16", "epoch": 3})


def test_a_missing_option_is_named():
    with pytest.raises(UsageError, match="'data' is missing"):
        make_options({"model": "ssd300_vgg16"})


def test_a_value_of_another_kind_is_named():
    with pytest.raises(UsageError, match="option 'epochs'"):
        make_options({"data": "photos", "model": "ssd300_vgg16", "epochs": "many"})


def test_a_loss_there_is_not_is_named_with_those_there_are():
    with pytest.raises(UsageError, match=r"option 'box_loss'.*'giou'"):
        make_options({"data": "photos", "model": "ssd300_vgg16", "box_loss": "iou"})
    with pytest.raises(UsageError, match=r"option 'class_loss'.*'varifocal'"):
        make_options({"data": "photos", "model": "ssd300_vgg16", "class_loss": "vfl"})


def test_resolved_options_say_the_weights_of_the_losses():
    lite = load_spec("ssd320_mobilenet_v2_fpnlite")
    options = resolve(replace(GIVEN, assigner="atss", box_loss="giou", focal_gamma=1.5), lite)
    assert (options.box_weight, options.focal_alpha, options.focal_gamma) == (2.0, lite.loss.focal_alpha, 1.5)
    assert (options.class_loss, options.rules(lite).class_loss, options.rules(lite).assigner) == (
        "sheet",
        "focal",
        "atss",
    )


def test_options_go_through_a_file_unchanged(tmp_path: Path):
    options = replace(GIVEN, names=("a", "b"), milestones=(0.5,), freeze=("backbone",), clip_grad=1.0)
    path = tmp_path / "args.yaml"
    path.write_text(yaml.safe_dump(to_table(options)))
    assert read_options(path, {}) == options
    assert read_options(path, {"epochs": 7}) == replace(options, epochs=7)


def test_a_file_that_is_no_table_is_refused_in_one_sentence(tmp_path: Path):
    path = tmp_path / "args.yaml"
    path.write_text("- 1\n- 2\n")
    with pytest.raises(UsageError, match=r"args.yaml: not a table"):
        read_options(path, {})
    with pytest.raises(UsageError, match=r"nowhere.yaml: not a readable file"):
        read_options(tmp_path / "nowhere.yaml", {})


def test_the_default_rate_is_the_recipes_in_proportion_to_the_batch():
    vgg, lite = load_spec("ssd300_vgg16"), load_spec("ssdlite320_mobilenet_v3_large")
    assert resolve(replace(GIVEN, batch=32), vgg).lr0 == pytest.approx(0.002)
    assert resolve(replace(GIVEN, batch=8), vgg).lr0 == pytest.approx(0.0005)
    assert resolve(GIVEN, lite).lr0 == pytest.approx(0.05)
    assert resolve(GIVEN, load_spec("ssd300_resnet50")).lr0 == pytest.approx(0.0013)
    assert resolve(GIVEN, load_spec("ssd640_resnet50_fpn")).lr0 == pytest.approx(0.01)
    assert resolve(replace(GIVEN, optimizer="adamw"), lite).lr0 == pytest.approx(0.001)


def test_trained_weights_go_on_with_a_tenth_of_the_rate():
    lite = load_spec("ssdlite320_mobilenet_v3_large")
    assert resolve(replace(GIVEN, weights="some.pth"), lite).lr0 == pytest.approx(0.005)
    assert resolve(replace(GIVEN, model="best.safetensors"), lite).lr0 == pytest.approx(0.005)


def test_given_values_stay_when_resolved():
    resolved = resolve(replace(GIVEN, lr0=0.3, weight_decay=0.0), load_spec("ssd300_vgg16"))
    assert (resolved.lr0, resolved.weight_decay) == (0.3, 0.0)
    assert resolve(resolved, load_spec("ssd300_vgg16")) == resolved


def test_two_files_to_start_from_are_refused():
    with pytest.raises(UsageError, match="give one of them"):
        TrainOptions(data="photos", model="best.safetensors", weights="other.safetensors")


@pytest.mark.parametrize(
    ("words", "size"), [(None, None), (320, (320, 320)), ("320", (320, 320)), ("640x384", (384, 640))]
)
def test_an_input_is_a_side_or_width_x_height(words, size):
    assert replace(GIVEN, imgsz=words).input_size == size
    assert make_options({"data": "photos", "model": "ssd300_vgg16", "imgsz": words}).input_size == size


@pytest.mark.parametrize("words", ["", "x", "640x", "x384", "0", "0x8", "-3", "640 x 384", "1x2x3"])
def test_words_that_are_no_input_are_named(words):
    with pytest.raises(UsageError, match=f"imgsz is '{words}'; it is a side in pixels"):
        replace(GIVEN, imgsz=words)


def test_a_file_with_weights_takes_another_input_but_no_other_backbone():
    assert replace(GIVEN, model="best.safetensors", imgsz=512).input_size == (512, 512)
    with pytest.raises(UsageError, match="leave out backbone"):
        replace(GIVEN, model="best.safetensors", backbone="resnet18")
