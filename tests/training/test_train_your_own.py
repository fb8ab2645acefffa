"""Every command of the page that users begin with, in its order, on a small dataset: only the epochs are fewer."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "train-your-own.md"
SHORTER = {"--epochs 60": "--epochs 2 --batch 4 --workers 0"}


def blocks() -> list[tuple[str, str]]:
    """(language, text) of each block of code that can be run, without the installation."""
    found = re.findall(r"```(bash|python)\n(.+?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [(language, text) for language, text in found if not text.startswith("pip ")]


def run(language: str, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """One block as its user would run it, in `folder`."""
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    if language == "python":
        return subprocess.run([sys.executable, "-c", text], cwd=folder, capture_output=True, text=True)
    (line,) = text.splitlines()
    words = line.split()
    assert words[0] == "multibox"
    return subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True)


def test_the_whole_page_works(tmp_path: Path, render: Callable[..., Path]) -> None:
    photos = render(tmp_path / "my_photos", {"train": 12, "val": 4, "test": 4})
    shutil.copy(photos / "JPEGImages" / "test000.jpg", photos / "JPEGImages" / "cup_001.jpg")
    done = []
    for language, text in blocks():
        outcome = run(language, text, tmp_path)
        assert outcome.returncode == 0, f"{text}\n{outcome.stderr}"
        done.append(language if language == "python" else text.split()[1])
    assert done == ["train", "priors", "train", "train", "evaluate", "predict", "export", "predict", "python"]
    assert (tmp_path / "my_detector.onnx").is_file()
