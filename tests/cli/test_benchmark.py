"""`multibox benchmark`: a table or JSON on stdout, progress on stderr, one sentence for what cannot be measured."""

import json

import pytest

from multibox.cli import main

QUICK = ("--engines", "onnxruntime", "--threads", "1", "--rounds", "1", "--batch", "1")


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as exit:
        main(["benchmark", *(str(word) for word in words)])
    return int(exit.value.code or 0)


@pytest.mark.slow
def test_the_detector_in_the_box_is_measured_as_a_table_with_a_plot(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    assert run(*QUICK, "--plot", tmp_path / "speed.png") == 0
    out, err = capsys.readouterr()
    assert "1 threads on" in out and "warm-up" in out
    (line,) = [line for line in out.splitlines() if line.startswith("onnxruntime")]
    assert line.split()[1:3] == ["fp32", "1"]
    assert "1/1  default onnxruntime fp32 batch 1: " in err
    assert (tmp_path / "speed.png").stat().st_size > 10_000


@pytest.mark.slow
def test_json_alone_stands_on_stdout(capsys):
    assert run(*QUICK, "--json", "--quiet") == 0
    out, err = capsys.readouterr()
    assert err == ""
    (row,) = json.loads(out)["rows"]
    assert row["engine"] == "onnxruntime" and row["latency"]["p50"] > 0 and row["start_seconds"] > 0


@pytest.mark.slow
def test_torchvisions_own_model_takes_turns_with_ours(capsys):
    pytest.importorskip("torch")
    words = ["ssdlite320_mobilenet_v3_large.torchvision_coco", "--random", "--against", "torchvision"]
    assert run(*words, *QUICK, "--json") == 0
    peer, ours = json.loads(capsys.readouterr().out)["rows"]
    assert peer["engine"] == "torchvision" and peer["against"] is None
    ratio = ours["against"]
    assert 1 < ratio["low"] <= ratio["high"]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--engines", "openvine"], 2, "no engine 'openvine'; did you mean 'openvino'?"),
        (["--engines", ","], 2, "name at least one engine"),
        (["--precisions", "fp33"], 2, "no precision 'fp33'"),
        (["--batch", "1,x"], 2, "--batch is '1,x'"),
        (["--rounds", "0"], 2, "rounds is 0"),
        (["--source", "no_such.jpg"], 3, "no_such.jpg: no such file or folder"),
        (["no_such.onnx"], 4, "no_such.onnx: cannot be read"),
        (["--against", "torchvision"], 2, "--against torchvision needs a network's weights or a sheet, and default"),
        (["--random", "a.onnx"], 2, "--random needs a network's weights or a sheet, and a.onnx is an exported file"),
        (["--plot", "speed.txt"], 2, "speed.txt: a plot is written as one of"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(words, code, sentence, capsys):
    assert run(*words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and sentence in err and err.count("\n") == 1
