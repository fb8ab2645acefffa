"""`multibox convert`: what was recognised on stdout, a file that works, exit codes by kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from multibox.cli import main
from multibox.cli.sample import sample_photo

SHEET = "ssd300_vgg16.torchvision_coco"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as exit:
        main([str(word) for word in words])
    return int(exit.value.code or 0)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from torchvision.models.detection import ssd300_vgg16

    path = tmp_path_factory.mktemp("theirs") / "model_final.pth"
    torch.save(ssd300_vgg16(weights=None, weights_backbone=None, num_classes=3).state_dict(), path)
    return path


def test_it_says_what_was_recognised_and_how_to_use_the_file(theirs, tmp_path, capsys):
    out = tmp_path / "ours.safetensors"
    assert run("convert", theirs, out, "--names", "cat, dog") == 0
    said = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert said["recognised"].startswith(f"{SHEET}: SSD300")
    assert said["tensors"].strip() == "71, 23.88 M parameters"
    assert said["classes"].strip() == "2: cat, dog"
    assert said["input"].strip() == "300x300"
    command = said["use it"].split()
    assert command == ["multibox", "predict", "photo.jpg", "--model", str(out)]
    assert run("predict", sample_photo(), *command[3:], "--no-save", "--format", "none") == 0


def test_the_same_as_json_with_names_from_a_file(theirs, tmp_path, capsys):
    (tmp_path / "labels.txt").write_text("BACKGROUND\ncat\n\ndog\n", encoding="utf-8")
    out = tmp_path / "ours.safetensors"
    assert run("convert", theirs, out, "--names", tmp_path / "labels.txt", "--as", "ssd300_vgg16", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["sheet"] == facts["model"] == "ssd300_vgg16"
    assert (facts["file"], facts["bytes"]) == (str(out), out.stat().st_size)
    assert (facts["classes"], facts["names"], facts["input"]) == (2, ["cat", "dog"], [300, 300])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["ours.onnx"], 2),
        (["model_final.pth"], 2),
        (["ours.safetensors", "--names", "cat"], 2),
        (["ours.safetensors", "--names", "absent.txt"], 2),
        (["ours.safetensors", "--as", "ssd300_vgg15"], 4),
        (["ours.safetensors", "--as", "ssdlite320_mobilenet_v3_large"], 4),
        (["absent/ours.safetensors"], 4),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_writes_nothing(theirs, tmp_path, monkeypatch, capsys, words, code):
    monkeypatch.chdir(tmp_path)
    assert run("convert", theirs, *words) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
