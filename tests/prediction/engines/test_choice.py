"""The engine that was measured to be the fastest for a file is taken for it while file and runtimes are the same."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from multibox.errors import MultiboxError
from multibox.prediction.engines import choice, open_engine

pytest.importorskip("openvino")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MULTIBOX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


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
    monkeypatch.setattr(choice, "version_of", lambda package: "9.9")
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
