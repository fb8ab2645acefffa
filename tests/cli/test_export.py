"""`multibox export`: the file, its parity on stdout, exit codes by kind."""

import json

import pytest

pytest.importorskip("torch")

from multibox.cli import main
from multibox.network.build import build_model
from multibox.weights.checkpoint import save
from multibox.zoo import load_spec

SHEET = "ssdlite320_mobilenet_v3_large"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as exit:
        main([str(word) for word in words])
    return int(exit.value.code or 0)


@pytest.mark.slow
def test_a_checkpoint_becomes_a_file_beside_it_with_its_parity(capsys, tmp_path):
    model = build_model(load_spec(SHEET).with_names(("cat", "dog")))
    save(tmp_path / "best.safetensors", model.state_dict(), model.spec, metrics={"AP": 0.25})
    assert run("export", tmp_path / "best.safetensors", "--weights", "int8", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["file"] == str(tmp_path / "best.onnx")
    assert facts["bytes"] == (tmp_path / "best.onnx").stat().st_size < 4_000_000
    assert facts["parity"]["scores"] <= 1e-4


def test_models_that_cannot_be_exported_are_exit_code_4(capsys, tmp_path):
    (tmp_path / "done.onnx").write_bytes(b"")
    for words in ((tmp_path / "no.safetensors",), (tmp_path / "done.onnx",), (SHEET,), ("ssdlite321",)):
        assert run("export", *words) == 4
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1


def test_wrong_words_are_exit_code_2(capsys, tmp_path):
    assert run("export") == 2
    assert run("export", SHEET, "--batch", "many") == 2
    assert "'many'" in capsys.readouterr().err
    assert run("export", SHEET, "--format", "caffe") == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--size", "320x"], "'320x'; give HEIGHTxWIDTH"),
        (["--size", "0x320"], "'0x320'"),
        (["--format", "torch", "--head", "nms"], "they have decoded or raw"),
        (["--precision", "bf16"], "openvino or torch"),
        (["--format", "openvino", "--weights", "int8"], "ONNX files of precision fp32"),
        (["--precision", "int8"], "--calibrate"),
        (["--data", "somewhere"], "multibox evaluate"),
        (["--format", "litert", "--batch", "dynamic"], "fixed number of images"),
    ],
)
def test_words_that_do_not_go_together_are_one_sentence_before_anything_is_loaded(words, sentence, capsys):
    assert run("export", "no-such-model", *words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1


def test_a_data_set_that_is_absent_is_said_before_anything_is_exported(capsys, tmp_path):
    words = ("--precision", "int8", "--calibrate", tmp_path, "--data", tmp_path / "none")
    assert run("export", SHEET, *words) == 3
    assert "no such dataset folder" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [".xml", ".pt2", ".pte", ".plan"])
def test_an_exported_file_is_not_exported_again(ending, capsys, tmp_path):
    assert run("export", tmp_path / f"model{ending}") == 4
    assert "is an exported file already" in capsys.readouterr().err


def test_the_model_itself_is_not_overwritten(capsys, tmp_path):
    path = tmp_path / "model.onnx.safetensors"
    save(path, build_model(load_spec(SHEET).with_names(("cat",))).state_dict(), load_spec(SHEET).with_names(("cat",)))
    before = path.read_bytes()
    assert run("export", path, "--output", path) == 2
    assert "is the model itself" in capsys.readouterr().err
    assert path.read_bytes() == before
