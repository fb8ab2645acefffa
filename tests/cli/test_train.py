"""`multibox train`: the run on stdout, the log on stderr, exit codes by kind."""

import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from multibox.cli import main
from multibox.cli.train import train
from multibox.training.options import TrainOptions
from multibox.weights import checkpoint

SHEET = Path(__file__).parents[2] / "src/multibox/zoo/models/ssdlite320_mobilenet_v3_large.toml"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as exit:
        main([str(word) for word in words])
    return int(exit.value.code or 0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four photos of a red square in COCO's layout."""
    (tmp_path / "data/annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (tmp_path / "data" / split).mkdir()
        images, annotations = [], []
        for index in range(1, 5):
            photo = np.full((96, 96, 3), 128, np.uint8)
            photo[20:60, 10 * index : 10 * index + 40] = (0, 0, 255)
            cv2.imwrite(str(tmp_path / "data" / split / f"{index}.png"), photo)
            images.append({"id": index, "file_name": f"{index}.png", "width": 96, "height": 96})
            box = {"bbox": [10 * index, 20, 40, 40], "area": 1600, "iscrowd": 0}
            annotations.append({"id": index, "image_id": index, "category_id": 7, **box})
        table = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "square"}]}
        (tmp_path / f"data/annotations/instances_{split}.json").write_text(json.dumps(table))
    return tmp_path / "data"


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    """SSDLite at 96 pixels."""
    path = tmp_path / "small.toml"
    path.write_text(SHEET.read_text().replace("height = 320", "height = 96").replace("width = 320", "width = 96"))
    return path


def test_a_run_ends_with_its_folder_weights_and_metrics(capsys, data, sheet, tmp_path):
    words = ("train", f"data={data}", "--model", sheet, "--batch", 2, "--workers", 0, "--device", "cpu")
    assert run(*words, "--epochs", 1, "--project", tmp_path / "runs", "--name", "mine", "--json") == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["folder"] == str(tmp_path / "runs/mine")
    assert Path(report["weights"]).is_file()
    assert report["epochs"] == 1
    assert 0 <= report["metrics"]["AP"] <= 1
    assert "epoch 1/1  loss" in err
    assert "train: 4 images" in err
    assert run("train", "--resume", tmp_path / "runs/mine", "--epochs", 2, "--quiet") == 0
    out, err = capsys.readouterr()
    assert "epochs   2" in out
    assert "epoch 2/2" not in err


def choices(kind: Any) -> set[str]:
    """The words of all literals in an annotation."""
    parts = get_args(kind)
    return set(parts) if get_origin(kind) is Literal else {word for part in parts for word in choices(part)}


def test_every_option_can_be_typed_with_the_same_choices():
    typed, known = get_type_hints(train), get_type_hints(TrainOptions)
    assert known.keys() <= typed.keys()
    assert {name: choices(typed[name]) for name in known} == {name: choices(known[name]) for name in known}


def test_a_file_of_options_is_used_and_typed_words_win(capsys, data, sheet, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(f"data: {data}\nmodel: {sheet}\nepochs: 3\nbatch: 4\nworkers: 0\nval_split: none\ndevice: cpu\n")
    assert run("train", "--config", config, "--epochs", 1, "--project", tmp_path / "runs") == 0
    assert "epoch 1/1" in capsys.readouterr().err
    config.write_text("epoch: 3\n")
    assert run("train", "--config", config) == 2
    assert "unknown option 'epoch'; did you mean 'epochs'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--model", "ssd300_vgg16"], 2, "--data is missing"),
        (["--data", "nowhere", "--model", "ssd300_vgg16"], 3, "no such dataset folder"),
        (["--resume", "nowhere"], 2, "nothing to resume"),
        (["--resume", "nowhere", "--data", "x"], 2, "leave out --data"),
        (["--data", "x", "--model", "ssd300_vgg16", "--epochs", "0"], 2, "epochs is 0"),
        (["--data", "x", "--model", "ssd300_vgg16", "--imgsz", "640*384"], 2, "imgsz is '640*384'"),
        (["--data", "x", "--model", "ssd300_vgg16", "--milestones", "a,b"], 2, "not numbers between commas"),
        (["--data", "x", "--model", "ssd300_vgg16", "--find-batch", "--device", "cpu"], 2, "fills a GPU's memory"),
    ],
)
def test_what_cannot_be_run_is_one_sentence_with_the_code_of_its_kind(capsys, words, code, sentence):
    assert run("train", *words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in " ".join(err.split())


def test_a_model_with_a_typo_is_exit_code_4_with_the_nearest_name(capsys, data):
    assert run("train", "--data", data, "--model", "ssd300_vgg61", "--workers", 0) == 4
    assert "did you mean 'ssd300_vgg16'" in capsys.readouterr().err


def test_a_project_that_cannot_be_written_is_one_sentence(capsys, data, sheet, tmp_path):
    (tmp_path / "file").write_text("")
    assert run("train", "--data", data, "--model", sheet, "--project", tmp_path / "file", "--workers", 0) == 1
    assert "the run folder cannot be made" in capsys.readouterr().err


@pytest.mark.slow
def test_a_family_on_another_backbone_for_another_input_is_trained_and_goes_on(capsys, data, tmp_path):
    words = ("--data", data, "--model", "ssdlite320", "--backbone", "lcnet_050", "--imgsz", "128x96", "--batch", 2)
    assert run("train", *words, "--workers", 0, "--epochs", 1, "--project", tmp_path, "--name", "a", "--quiet") == 0
    assert run("train", "--resume", tmp_path / "a", "--epochs", 2, "--quiet") == 0
    assert run("train", "--resume", tmp_path / "a", "--imgsz", "64") == 2
    assert "leave out --imgsz" in capsys.readouterr().err
    spec = checkpoint.load(tmp_path / "a/weights/last.safetensors").spec
    assert (spec.name, spec.input.height, spec.input.width) == ("ssdlite128x96_lcnet_050", 96, 128)
    words = ("--data", data, "--model", tmp_path / "a/weights/last.safetensors", "--imgsz", 64, "--batch", 2)
    assert run("train", *words, "--workers", 0, "--epochs", 1, "--project", tmp_path, "--name", "b") == 0
    assert "taken over, 0 as initialised" in capsys.readouterr().err
    assert checkpoint.load(tmp_path / "b/weights/last.safetensors").spec.name == "ssdlite64_lcnet_050"


def test_a_recipe_names_the_model_and_typed_words_win(capsys, data, tmp_path):
    words = ("train", "--recipe", "torchvision_ssdlite", "--data", data, "--batch", 2, "--imgsz", 64)
    assert run(*words, "--dry-run", "--json", "--project", tmp_path / "runs", "--epochs", 3) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["model"]["name"] == "ssdlite64_mobilenet_v3_large"
    assert report["length"]["epochs"] == 3
    assert report["rate"]["from"] == "0.15 for 192 images -> 0.0015625 for 2"
    assert "learning rate 0.15 for 192 images -> 0.0015625 for 2" in err
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_is_a_table_on_stdout(capsys, data, sheet):
    words = ("train", "--recipe", "nvidia", "--data", data, "--model", sheet, "--batch", 2)
    assert run(*words, "--dry-run", "--quiet") == 0
    out, err = capsys.readouterr()
    assert "recipe nvidia" not in err
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "recipe name nvidia" in lines
    assert "from 0.0026 for 32 images -> 0.0001625 for 2" in lines
    assert "run folder runs/train/run" in lines
    assert run("train", "--resume", "x", "--dry-run") == 2
