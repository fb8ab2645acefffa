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
