"""A bad weights file is exit code 4 and one sentence on stderr, whatever the verb that meets it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("torch")

import cv2
import numpy as np
import torch

from multibox.cli import main
from multibox.cli.sample import sample_photo

SHEET = "ssdlite320_mobilenet_v3_large"


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One photo of a square in COCO's layout."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "annotations").mkdir()
    for split in ("train", "val"):
        (folder / split).mkdir()
        cv2.imwrite(str(folder / split / "1.png"), np.full((96, 96, 3), 128, np.uint8))
        box = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [20, 20, 40, 40], "area": 1600, "iscrowd": 0}
        images = [{"id": 1, "file_name": "1.png", "width": 96, "height": 96}]
        table = {"images": images, "annotations": [box], "categories": [{"id": 7, "name": "square"}]}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(table))
    return folder


@pytest.fixture(params=["evil", "cut off", "foreign", "mismatched", "empty", "folder", "absent", "photo"])
def bad(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A bad file of each kind."""
    path = tmp_path / "bad.pth"
    if request.param == "evil":
        torch.save({"state_dict": Evil(tmp_path / "made_by_the_pickle")}, path)
    elif request.param == "cut off":
        torch.save({"a": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:3000])
    elif request.param == "foreign":
        torch.save({"layer1.0.conv1.weight": torch.zeros(3)}, path)
    elif request.param == "mismatched":
        keys = ("head.classification_head.module_list.0.weight", "backbone.scale_weight")
        torch.save({key: torch.zeros(8) for key in keys}, path)
    elif request.param == "folder":
        path.mkdir()
    elif request.param in ("empty", "photo"):
        path.write_bytes(b"" if request.param == "empty" else b"\xff\xd8\xff\xe0" + bytes(100))
    return path


@pytest.mark.parametrize("verb", ["predict", "evaluate", "export", "convert", "train", "train from", "teacher"])
def test_every_verb_says_one_sentence_and_exits_with_4(verb, bad, data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words: list[object] = {
        "predict": ["predict", sample_photo(), "--model", bad],
        "evaluate": ["evaluate", bad, "--data", data],
        "export": ["export", bad],
        "convert": ["convert", bad, "out.safetensors"],
        "train": ["train", "--data", data, "--model", bad, "--quiet"],
        "train from": ["train", "--data", data, "--model", SHEET, "--weights", bad, "--quiet"],
        "teacher": ["train", "--data", data, "--model", SHEET, "--teacher", bad, "--quiet"],
    }[verb]
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as exit:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if not line.startswith("warning: ")]
    assert (exit.value.code, out, len(errors)) == (4, "", 1), err
    assert errors[0].startswith("error: ") and "bad.pth" in errors[0]
    assert sorted(tmp_path.iterdir()) == before
