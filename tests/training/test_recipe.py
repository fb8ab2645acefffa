"""Recipes as sheets: complete, strict, scaled to the real batch, and below what is given."""

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from multibox.errors import UsageError
from multibox.training.options_file import make_options, read_options, to_table
from multibox.training.recipe import list_recipes, load_recipe
from multibox.training.resolve import resolve
from multibox.zoo import list_models, load_spec

COMPLETE = {
    "batch", "optimizer", "lr0", "momentum", "nesterov", "weight_decay", "decay_norms", "decay_biases", "bias_rate",
    "schedule", "rate_every", "assigner", "class_loss", "box_loss", "box_weight", "pretrained_backbone", "freeze",
    "freeze_norms", "sync_bn", "ema", "zoom_out", "crop", "flip", "photometric",
}  # fmt: skip
"""What every recipe of the package says, so that none depends on a default."""

OWN = """
description = "my own"
models = ["ssd300_vgg16"]
data = "photos"
[source]
codebase = "me"
version = "1"
files = ["notes"]
[options]
batch = 8
epochs = 10
lr0 = 0.01
"""


def own(tmp_path: Path, text: str = OWN) -> str:
    path = tmp_path / "own.toml"
    path.write_text(text)
    return str(path)


def of(recipe: str, **given: object):
    return make_options({"data": "photos", "recipe": recipe, **given})


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_is_complete_and_names_its_source_and_models(name):
    recipe = load_recipe(name)
    assert recipe.options.keys() >= COMPLETE
    assert {"warmup_steps", "warmup_epochs"} & recipe.options.keys()
    assert recipe.source.files and recipe.source.version
    assert set(recipe.models) <= set(list_models())
    options = of(name)
    assert options.model == recipe.models[0]
    assert (options.batch, options.lr0) == (recipe.options["batch"], recipe.options["lr0"])
    spec = load_spec(options.model)
    resolved = resolve(options, spec, 5000)
    assert resolved.iterations is None
    assert resolved.rules(spec).class_loss == ("mined" if spec.activation == "softmax" else "focal")
    assert resolved.focal_alpha == (spec.loss.focal_alpha if spec.activation == "sigmoid" else resolved.focal_alpha)


def test_the_rate_is_scaled_to_the_real_batch_and_said(caplog):
    with caplog.at_level(logging.INFO, logger="multibox"):
        assert of("torchvision_ssd", batch=16).lr0 == pytest.approx(0.001)
    assert "learning rate 0.002 for 32 images -> 0.001 for 16" in caplog.text
    assert of("torchvision_ssd").batch == 32


def test_accumulated_batches_and_processes_count_as_images_of_a_step(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (of("torchvision_ssd").batch, of("torchvision_ssd").lr0) == (8, 0.002)
    options = of("torchvision_ssd", accumulate=2, batch=8)
    assert (options.total_batch, options.lr0) == (64, 0.004)
    assert of("torchvision_ssd", accumulate=2).batch == 4
    assert resolve(of("paper_voc300", batch=4), load_spec("ssd300_vgg16"), 1600).epochs == 1200 * 2


def test_a_given_rate_is_taken_as_it_is(caplog):
    with caplog.at_level(logging.INFO, logger="multibox"):
        assert of("torchvision_ssd", batch=16, lr0=0.5).lr0 == 0.5
    assert "learning rate 0.5 as given (the recipe's is 0.002 for 32 images)" in caplog.text


def test_iterations_are_as_many_images_and_whole_epochs_of_the_data(caplog):
    with caplog.at_level(logging.INFO, logger="multibox"):
        options = of("paper_voc300", batch=16)
        resolved = resolve(options, load_spec("ssd300_vgg16"), 16551)
    assert options.iterations == 240_000
    assert "120000 iterations of 32 images -> 240000 of 16" in caplog.text
    assert "240000 iterations of 16 images -> 232 epochs of 1034 steps" in caplog.text
    assert (resolved.epochs, resolved.iterations) == (232, None)
    assert resolved.milestones == pytest.approx((80 / 120, 100 / 120))


def test_epochs_that_are_given_take_the_place_of_iterations():
    options = of("paper_voc300", epochs=12)
    assert (options.epochs, options.iterations) == (12, None)
    assert options.milestones == pytest.approx((80 / 120, 100 / 120))
    assert of("torchvision_ssd", iterations=500).iterations == 500
    assert (of("torchvision_ssd", warmup_epochs=3).warmup_steps, of("mmdet", warmup_steps=7).warmup_steps) == (None, 7)


def test_what_is_typed_wins_over_the_file_and_the_file_over_the_recipe(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({"data": "photos", "recipe": "mmdet", "momentum": 0.8, "weight_decay": 0.1}))
    options = read_options(config, {"weight_decay": 0.2})
    assert (options.momentum, options.weight_decay, options.epochs, options.model) == (
        0.8, 0.2, 120, "ssd300_vgg16.mmdet_coco",
    )  # fmt: skip
    assert read_options(config, {"recipe": "gluon"}).epochs == 240


def test_a_plain_yes_leaves_the_ranges_of_the_recipe():
    assert of("mmdet", crop=True, photometric=True) == of("mmdet")
    assert of("mmdet", crop=False).crop is False
    assert of("torchvision_ssdlite", photometric=True).photometric is True


def test_weights_to_start_from_take_the_place_of_imagenets():
    assert of("torchvision_ssd").pretrained_backbone
    assert not of("torchvision_ssd", weights="some.pth").pretrained_backbone
    assert not of("torchvision_ssd", model="some.safetensors").pretrained_backbone


def test_ones_own_recipe_is_given_by_its_path(tmp_path):
    options = of(own(tmp_path), batch=16)
    assert (options.model, options.epochs, options.lr0) == ("ssd300_vgg16", 10, 0.02)


def test_a_runs_own_file_needs_its_recipe_no_more(tmp_path):
    recipe = own(tmp_path)
    options = of(recipe)
    args = tmp_path / "args.yaml"
    args.write_text(yaml.safe_dump(to_table(options)))
    Path(recipe).unlink()
    assert read_options(args, {}) == options
    assert read_options(args, {"epochs": 3}) == replace(options, epochs=3)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("description", "descripton", r"unknown field 'descripton'; did you mean 'description'"),
        ("codebase", "code_base", r"unknown field 'source.code_base'; did you mean 'codebase'"),
        ('files = ["notes"]', "", r"field 'source.files'"),
        ("epochs = 10", "epoch = 10\niterations = 3", r"unknown option 'epoch'; did you mean 'epochs'"),
        ("epochs = 10", "epochs = 'many'", r"option 'epochs'"),
        ("epochs = 10", "epochs = 10\niterations = 5", r"one of 'epochs' and 'iterations'"),
        ("epochs = 10", "epochs = 10\ndevice = 'cpu'", r"'device' belongs to a run"),
        ("epochs = 10", "epochs = 10\nmilestones = [11]", r"milestones holds 11"),
        ("epochs = 10", "epochs = 10\nnesterov = true\nmomentum = 0", r"nesterov"),
        (
            "epochs = 10",
            "epochs = 10\ncrop = { optons = [1] }",
            r"unknown option 'crop.optons'; did you mean 'options'",
        ),
        ("epochs = 10", "epochs = 10\nphotometric = { hue = 'red' }", r"option 'photometric.hue'"),
        ("lr0 = 0.01", "", r"option 'lr0' is missing"),
        ('models = ["ssd300_vgg16"]', "models = []", r"'models' is empty"),
        ("batch = 8", "batch =", r"not a readable recipe"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_one_sentence_naming_the_file(tmp_path, old, new, sentence):
    with pytest.raises(UsageError, match=rf"own\.toml: .*{sentence}") as error:
        of(own(tmp_path, OWN.replace(old, new, 1)))
    assert "\n" not in str(error.value)


def test_recipes_are_read_without_torch():
    code = "import sys, multibox.training.options_file as o; o.make_options({'data': '', 'recipe': 'nvidia'}); "
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True)


def test_a_recipe_there_is_not_is_named_with_the_nearest_one():
    with pytest.raises(UsageError, match=r"no recipe 'torchvision_sd'; did you mean 'torchvision_ssd'"):
        of("torchvision_sd")


def test_a_recipe_for_another_model_says_for_which_it_was_used(caplog):
    with caplog.at_level(logging.INFO, logger="multibox"):
        assert of("nvidia", model="ssd300_vgg16").model == "ssd300_vgg16"
    assert "recipe nvidia was used for ssd300_resnet50.nvidia_coco" in caplog.text
