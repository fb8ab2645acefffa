"""The command that fits priors: figures before and after, and a sheet that training takes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.cli import main
from multibox.sheet import read_sheet


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as exit:
        main(words)
    return int(exit.value.code or 0)


@pytest.fixture(scope="module")
def small_objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of 320 x 320 with objects of 20 px."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "annotations").mkdir()
    (folder / "train").mkdir()
    images = [{"id": i, "file_name": f"{i}.png", "width": 320, "height": 320} for i in range(4)]
    for image in images:
        cv2.imwrite(str(folder / "train" / image["file_name"]), np.zeros((320, 320, 3), np.uint8))
    boxes = [{"id": 10 * i + j, "image_id": i, "category_id": 1, "bbox": [40 * j, 30 * i, 20, 20 + j], "area": 400}
             for i in range(4) for j in range(6)]  # fmt: skip
    table = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "dot"}]}
    (folder / "annotations/instances_train.json").write_text(json.dumps(table))
    return folder


def test_the_fit_is_shown_and_the_sheet_is_written(small_objects, tmp_path, capsys):
    path = tmp_path / "dots.toml"
    assert run("priors", "-d", str(small_objects), "-m", "ssdlite320", "-o", str(path)) == 0
    shown = capsys.readouterr().out
    assert "16-32 px" in shown and "0.0%" in shown and "100.0%" in shown and str(path) in shown
    spec = read_sheet(path)
    assert spec.labels.names == ("dot",) and spec.check is not None and "24 objects" in spec.description


def test_without_an_output_the_priors_are_shown_as_a_sheet_has_them(small_objects, capsys):
    assert run("priors", "-d", str(small_objects), "-m", "ssdlite320") == 0
    assert "[priors]\nlevels = [\n  { shapes = [[20.0, " in capsys.readouterr().out


def test_json_holds_figures_and_sheet(small_objects, capsys):
    assert run("priors", "-d", str(small_objects), "-m", "ssdlite320", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["before"]["sizes"] == {"16-32 px": {"share": 0.0, "objects": 24}}
    assert found["after"]["sizes"]["16-32 px"]["share"] == 1.0
    assert found["after"]["mean_best_iou"] > 0.6 > found["before"]["mean_best_iou"]
    assert found["spec"]["tag"] == "fitted"


def test_an_output_that_is_no_sheet_is_refused(small_objects, tmp_path, capsys):
    assert run("priors", "-d", str(small_objects), "-m", "ssdlite320", "-o", str(tmp_path / "x.json")) == 2
    assert "ends in .toml" in capsys.readouterr().err
