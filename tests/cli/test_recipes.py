"""`multibox recipes`: the list, one recipe, and how they are named."""

import json

import pytest

from multibox.cli import main
from multibox.training.recipe import list_recipes


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as exit:
        main(list(words))
    return int(exit.value.code or 0)


def test_the_list_has_every_recipe_with_its_numbers(capsys):
    assert run("recipes", "list") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in list_recipes())
    assert "x0.1 at 80, 110" in out and "cosine, every 5 epochs" in out and "biases x2" in out


def test_words_narrow_the_list_and_json_is_whole(capsys):
    assert run("recipes", "list", "mobilenet", "coco", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found if each["source"]["codebase"] == "MMDetection"] == ["mmdet_ssdlite"]
    assert found[0]["options"]["batch"] > 0
    assert run("recipes", "list", "nonsense") == 2


def test_one_recipe_is_shown_as_its_file(capsys):
    assert run("recipes", "info", "nvidia") == 0
    assert "milestones = [43, 54]" in capsys.readouterr().out
    assert run("recipes", "info", "nvidia", "--json") == 0
    assert json.loads(capsys.readouterr().out)["options"]["milestones"] == [43, 54]
    assert run("recipes", "info", "nvida") == 2
    assert "did you mean 'nvidia'" in capsys.readouterr().err
