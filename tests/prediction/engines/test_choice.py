"""The engine that was measured to be the fastest for a file is taken for it while file and runtimes are the same."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from bright import BrightEngine
from multibox.errors import MultiboxError
from multibox.prediction.engines import choice, open_engine

pytest.importorskip("openvino")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MULTIBOX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Sleeper(BrightEngine):
    """An engine that takes its time."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__()
        self.name, self._seconds = name, seconds

    def run(self, batch: np.ndarray) -> list:
        time.sleep(self._seconds)
        return []


def test_the_engine_that_takes_less_time_wins_the_race() -> None:
    times = choice.race([Sleeper("slow", 0.02), Sleeper("quick", 0.002)], seconds=0.1)
    assert times["slow"] > 2 * times["quick"] > 3


def test_auto_takes_what_won_until_the_file_changes(quarters: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    shutil.copy(quarters, file)
    assert open_engine(file).name == "openvino"
    assert choice.remember(file, {"openvino": 2.0, "onnxruntime": 1.0}) == "onnxruntime"
    assert open_engine(file).name == "onnxruntime"
    assert open_engine(file, "openvino").name == "openvino"
    os.utime(file, (1, 1))
    assert open_engine(file).name == "openvino"


def test_other_versions_of_a_runtime_are_another_race(quarters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice.remember(quarters, {"openvino": 2.0, "onnxruntime": 1.0})
    monkeypatch.setattr(choice, "_version", lambda package: "9.9")
    assert choice.remembered(quarters) is None


def test_a_broken_memory_is_no_memory(quarters: Path, cache: Path) -> None:
    for text in ("", "[1, 2]", "{"):
        cache.mkdir(exist_ok=True)
        (cache / "engines.json").write_text(text)
        assert choice.remembered(quarters) is None
    choice.remember(quarters, {"openvino": 1.0})
    assert choice.remembered(quarters) == "openvino"


def test_a_cache_that_cannot_be_written_is_one_sentence(quarters: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(MultiboxError, match="cache"):
        choice.remember(quarters, {"openvino": 1.0})
