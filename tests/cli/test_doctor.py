"""`multibox doctor`: what is installed and whether the detector in the box works."""

import json

import pytest

from multibox import load, zoo
from multibox.cli import main
from multibox.errors import ModelError


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """What is remembered does not leave the test."""
    monkeypatch.setenv("MULTIBOX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as exit:
        main(words)
    return int(exit.value.code or 0)


def has_detector() -> bool:
    try:
        return zoo.builtin_detector().is_file()
    except ModelError:
        return False


@pytest.mark.skipif(not has_detector(), reason="the package was built without its detector")
def test_a_whole_installation_finds_the_person_in_the_photograph(capsys):
    assert run("doctor", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"]
    assert report["detector"]["person"] > 0.25
    assert report["packages"]["numpy"]
    assert report["cores"] >= 1
    assert report["race"]["auto"] == load().engine.name
    assert run("doctor") == 0
    assert "finds the person" in capsys.readouterr().out


def test_without_the_detector_it_says_so_and_fails(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "_folder", lambda: tmp_path)
    assert run("doctor", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"]
    assert "no built-in detector" in report["detector"]["error"]
    assert run("checks") == 1
    assert "FAILED" in capsys.readouterr().out
