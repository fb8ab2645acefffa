"""The recipes that the documentation names are readable options of `multibox train`, for sheets that exist."""

from pathlib import Path

import pytest

from multibox.zoo import list_models

RECIPES = sorted((Path(__file__).resolve().parent.parent / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_read_whole_and_names_a_sheet(path: Path) -> None:
    pytest.importorskip("torch")
    from multibox.training.options_file import read_options

    options = read_options(path, {"data": "somewhere"})
    assert options.model in list_models()
    assert options.name == path.stem


def test_there_are_recipes() -> None:
    assert RECIPES
