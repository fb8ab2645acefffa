"""`multibox predict`, word for word: what it prints, what it leaves, how it exits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bright import BrightEngine, picture, save
from multibox import Detector
from multibox.cli import main
from multibox.errors import ModelError
from multibox.results.video import VideoFile

RED, GREEN = (64, 48, 320, 240, 255), (400, 100, 600, 400, 200)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command in an empty folder with the small detector of `bright`; gives exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("multibox.prediction.detector.load", lambda *_, **__: Detector(BrightEngine()))

    def call(*words: object) -> tuple[int, str, str]:
        try:
            main(["predict", *map(str, words)])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return call


def test_one_picture_gives_a_line_a_picture_and_json(run) -> None:
    save(Path("photos/a.png"), red=RED, green=GREEN)
    code, out, err = run("photos/a.png")
    assert code == 0 and err == ""
    first, last = out.splitlines()
    assert first.startswith("photos/a.png: 1 red, 1 green  ") and first.endswith(" ms")
    assert last == "1 image; results in runs/predict/predict"
    drawn = np.array(Image.open("runs/predict/predict/a.png"))
    assert drawn.shape == (480, 640, 3) and not np.array_equal(drawn, picture(red=RED, green=GREEN))
    (table,) = json.loads(Path("runs/predict/predict/predictions.json").read_text())
    assert [found["name"] for found in table["detections"]] == ["red", "green"]


def test_a_broken_picture_is_named_the_others_are_processed_and_the_code_is_3(run) -> None:
    for name in ("a", "c"):
        save(Path(f"in/{name}.png"), red=RED)
    Path("in/b.png").write_bytes(b"broken")
    code, out, err = run("in", "none.jpg")
    assert code == 3
    assert [line.split(":")[0] for line in out.splitlines()[:2]] == ["in/a.png", "in/c.png"]
    assert "4 images, 2 of them not readable" in out
    assert [line.split()[0] for line in err.splitlines()] == ["error:", "error:"]
    assert "in/b.png" in err and "none.jpg" in err
    assert len(json.loads(Path("runs/predict/predict/predictions.json").read_text())) == 2


def test_json_lines_are_all_that_is_on_stdout(run) -> None:
    save(Path("a.png"), red=RED)
    code, out, _ = run("a.png", "none.png", "--json", "--no-save", "--format", "none")
    assert code == 3
    found, broken = map(json.loads, out.splitlines())
    assert found["detections"][0]["name"] == "red" and found["width"] == 640
    assert "no such file" in broken["error"]
    assert not Path("runs").exists()


def test_quiet_prints_nothing_but_errors(run) -> None:
    save(Path("a.png"), red=RED)
    assert run("a.png", "--quiet") == (0, "", "")


def test_sources_are_words_or_options_and_options_may_be_key_value(run) -> None:
    for name in ("a", "b", "c"):
        save(Path(f"{name}.png"), red=RED)
    _, out, _ = run("a.png", "--source", "b.png", "source=c.png", "conf=0.3", "save=false", "format=none")
    assert [line.split(":")[0] for line in out.splitlines()[:3]] == ["a.png", "b.png", "c.png"]


def test_formats_conf_and_classes_are_heeded(run) -> None:
    save(Path("a.png"), red=RED, green=GREEN)
    run("a.png", "--format", "csv,yolo,voc,coco", "--conf", "0.9")
    folder = Path("runs/predict/predict")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["a.png", "coco_results.json", "coco_results_images.json", "predictions.csv", "voc", "yolo"]
    assert len((folder / "yolo" / "labels" / "a.txt").read_text().splitlines()) == 1
    assert json.loads((folder / "coco_results.json").read_text())[0]["category_id"] == 11
    _, out, _ = run("a.png", "--classes", "green,blue")
    assert "a.png: 1 green  " in out and "runs/predict/predict2" in out


def test_run_folders_are_numbered_unless_they_may_exist(run) -> None:
    save(Path("a.png"), red=RED)
    ends = [run("a.png", "--project", "out", "--name", "x")[1].split()[-1] for _ in range(2)]
    ends.append(run("a.png", "--project", "out", "--name", "x", "--exist-ok")[1].split()[-1])
    assert ends == ["out/x", "out/x2", "out/x"]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--classes", "gren"), 2, "did you mean 'green'"),
        (("--format", "jsn"), 2, "did you mean 'json'"),
        (("--conf", "7"), 2, "conf is between 0 and 1"),
        (("--batch", "0"), 2, "batch"),
        (("--project", "a.png/x"), 1, "cannot be written"),
    ],
)
def test_wrong_words_are_one_sentence_with_the_code_of_their_kind(run, words, code: int, sentence: str) -> None:
    save(Path("a.png"), red=RED)
    got, out, err = run("a.png", *words)
    assert got == code and out == ""
    assert err.count("\n") == 1 and err.startswith("error: ") and sentence in err
    assert not Path("runs").exists()


def test_without_a_source_the_installed_photograph_is_taken(run) -> None:
    code, out, _ = run()
    assert code == 0 and "grace_hopper.jpg: " in out


def test_a_video_becomes_a_video_with_boxes_and_results_per_frame(run) -> None:
    file = VideoFile(Path("v.mp4"), 10)
    for at in range(6):
        file.add(picture(320, 240, red=(20 * at, 20, 20 * at + 60, 100, 255)))
    file.close()
    code, out, _ = run("v.mp4", "--vid-stride", "2", "--batch", "2")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()[:3]] == [f"v.mp4 frame {n}" for n in (0, 2, 4)]
    tables = json.loads(Path("runs/predict/predict/predictions.json").read_text())
    assert [table["frame"] for table in tables] == [0, 2, 4]
    assert [round(t["detections"][0]["box"]["x1"] / 20) for t in tables] == [0, 2, 4]
    assert Path("runs/predict/predict/v.mp4").stat().st_size > 500


def test_the_help_imports_neither_torch_nor_supervision() -> None:
    code = "import sys; from multibox.cli import main\ntry: main(['predict', '--help'])\nexcept SystemExit: pass\n"
    check = "print('LOADED', [m for m in ('torch', 'supervision', 'cv2', 'openvino') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, env=dict(os.environ))
    assert "LOADED []" in done.stdout
    assert "--vid-stride" in done.stdout


def test_the_detector_in_the_box_finds_the_person_in_the_installed_photograph(tmp_path: Path) -> None:
    from multibox import zoo

    try:
        zoo.builtin_detector()
    except ModelError as error:
        pytest.skip(str(error))
    words = [sys.executable, "-m", "multibox", "predict", "--json", "--project", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    surest = json.loads(done.stdout)["detections"][0]
    assert surest["name"] == "person" and surest["score"] > 0.5
    assert surest["box"]["y1"] < 100 and surest["box"]["y2"] > 550
    assert (tmp_path / "predict" / "grace_hopper.jpg").is_file()
