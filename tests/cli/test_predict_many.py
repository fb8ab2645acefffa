"""`multibox predict-many`, word for word: what it refuses, and how it ends."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.cli import main

HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    def call(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([*map(str, words)])
        return int(end.value.code or 0), *capsys.readouterr()

    return call


def test_without_the_extra_it_is_one_sentence_that_names_it(run, tmp_path: Path, monkeypatch) -> None:
    for package in ("pyarrow", "ray"):
        monkeypatch.setitem(sys.modules, package, None)
    for module in [name for name in sys.modules if name.startswith(("multibox.scale", "pyarrow.", "ray."))]:
        monkeypatch.delitem(sys.modules, module)
    code, out, err = run("predict-many", tmp_path, "--output", tmp_path / "out")
    assert (code, out) == (1, "")
    assert err == "error: predict-many needs pyarrow, which is not installed; run: pip install 'multibox[ray]'\n"


def test_predict_with_ray_is_predict_many(run, tmp_path: Path) -> None:
    for words in (["--ray", "local"], ["--ray=local"], ["ray=local"]):
        code, _, err = run("predict", tmp_path, *words)
        assert code == 2 and "predict-many needs --output" in err
    assert "No such option" in run("predict", tmp_path, "--ray", "local", "--format", "voc")[2]
    assert "predict-many needs a folder" in run("predict-many", "--output", tmp_path)[2]


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="ray is not installed")
def test_the_summary_is_on_stdout_and_the_code_tells_of_broken_pictures(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"in/{number}.jpg"), np.full((48, 64, 3), 80 * number, np.uint8))
    (tmp_path / "in/broken.jpg").write_bytes(b"x")
    words = ["in", "--output", "out", "--shard-size", "2", "--workers", "1", "--json"]
    command = [sys.executable, "-m", "multibox", "predict-many", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    summary = json.loads(done.stdout)
    assert done.returncode == 3 and done.stderr.splitlines()[0] == "4 pictures in 2 shards"
    assert (summary["pictures"], summary["errors"], summary["shards"]) == (4, 1, 2)
    again = subprocess.run(command[:-1], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.stdout == "4 pictures, each exactly once, 1 of them not readable, in 2 files; results in out\n"
    other = subprocess.run([*command, "--conf", "0.5"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert other.returncode == 2 and other.stderr.count("\n") == 1 and "--conf 0.25, not 0.5" in other.stderr
