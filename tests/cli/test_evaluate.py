"""`multibox evaluate`: results on stdout, notes on stderr, exit codes by kind."""

import json

import pytest

from multibox.cli import main

FPNLITE = "tf2_ssd_mobilenet_v2_fpnlite_320_coco.tflite"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as exit:
        main([str(word) for word in words])
    return int(exit.value.code or 0)


def test_a_folder_that_is_not_there_is_exit_code_3(capsys, tmp_path):
    assert run("evaluate", "--data", tmp_path / "nowhere") == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "no such dataset folder" in err


def test_a_split_that_is_not_there_is_exit_code_3_and_the_others_are_named(capsys, shared_data):
    assert run("evaluate", "--data", shared_data / "bccd", "--split", "validation") == 3
    assert "val" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_exit_code_4(capsys, shared_data, tmp_path):
    assert run("val", tmp_path / "no.onnx", f"data={shared_data / 'bccd'}") == 4
    assert "no.onnx" in capsys.readouterr().err


@pytest.mark.slow
def test_a_detector_is_measured_on_real_photos(capsys, shared_data, shared_weights, tmp_path):
    pytest.importorskip("torch")
    model, data = shared_weights / FPNLITE, shared_data / "coco_sample"
    words = ["evaluate", model, "--data", data, "--limit", 8, "--quiet", "--save-dir", tmp_path / "out"]
    assert run(*words, "--json") == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert err == ""
    assert report["images"] == 8
    assert report["metrics"]["AP"] > 0.1
    assert report == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert run(*words) == 0
    table = capsys.readouterr().out
    assert all(f"{name} " in table for name in ("person", *report["metrics"]))


@pytest.mark.slow
def test_a_model_of_other_classes_is_exit_code_3_with_both_sides(capsys, shared_data, shared_weights):
    pytest.importorskip("torch")
    assert run("evaluate", shared_weights / FPNLITE, "--data", shared_data / "bccd", "--split", "test") == 3
    assert "no class in common" in capsys.readouterr().err
