"""A dry run says what a training would be, and leaves nothing behind."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from multibox.errors import DataError, UsageError
from multibox.training.dry_run import dry_run
from multibox.training.options import TrainOptions
from multibox.training.options_file import make_options
from multibox.training.train import train


@pytest.fixture
def by_recipe(options, small_sheet) -> TrainOptions:
    given = {"data": options.data, "model": str(small_sheet), "project": options.project, "device": "cpu", "workers": 0}
    return make_options({"recipe": "nvidia", "batch": 4, **given})


def test_it_tells_the_whole_run_in_plain_types(by_recipe):
    report = json.loads(json.dumps(dry_run(by_recipe)))
    assert report["recipe"]["name"] == "nvidia"
    assert report["recipe"]["differs"]
    assert report["data"]["classes"] == ["blue", "red"]
    assert report["data"]["splits"]["train"]["images"] == 16
    assert report["model"]["input"] == [96, 96]
    assert report["model"]["parameters"] == report["model"]["learning"] > 1e6
    assert report["model"]["start"] == "from scratch, the backbone ImageNet's weights"
    assert report["length"] == {"epochs": 65, "steps_per_epoch": 4, "steps": 260}
    assert report["rate"]["from"] == "0.0026 for 32 images -> 0.000325 for 4"
    assert report["rate"]["at"]["0"] == 0.0
    assert report["rate"]["at"]["172"] == pytest.approx(0.0000325)
    assert [group["weight_decay"] for group in report["optimizer"]["groups"]] == [5e-4, 0.0]
    assert report["augmentation"]["crop"]["objects"] == "all"
    assert report["loss"]["class_loss"] == "mined"
    assert report["device"]["kind"] == "cpu"
    assert report["run"]["folder"].endswith("runs/run")


def test_it_writes_nothing(by_recipe):
    dry_run(by_recipe)
    assert not Path(by_recipe.project).exists()


def test_it_names_the_folder_that_the_run_gets(options):
    first = train(replace(options, epochs=1, val_split="none"))
    assert dry_run(options)["run"]["folder"] == str(first.folder) + "2"


def test_it_refuses_what_the_training_would_refuse(options, tmp_path):
    with pytest.raises(DataError, match="no such dataset"):
        dry_run(replace(options, data=str(tmp_path / "nowhere")))
    with pytest.raises(UsageError, match="no part 'backbon'"):
        dry_run(replace(options, freeze=("backbon",)))


def test_without_a_recipe_the_rate_is_the_models(options):
    report = dry_run(replace(options, val_split="none"))
    assert report["recipe"] == {"name": None}
    assert report["rate"]["lr0"] == pytest.approx(0.0125)
    assert list(report["data"]["splits"]) == ["train"]
