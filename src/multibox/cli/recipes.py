"""`multibox recipes list` and `multibox recipes info NAME`: how the codebases trained, to train alike."""

from __future__ import annotations

import json as json_text
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multibox.cli.listing import Json, has_all, make_console, make_group

if TYPE_CHECKING:
    from multibox.training.recipe import Recipe

app = make_group("List the training recipes, or show one.")


@app.command("list")
def list_all(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORD]...", help="Only recipes with all these words in name, description or models."),
    ] = None,
    json: Json = False,
) -> None:
    """The recipes: length, batch, learning rate, schedule, and the models that they were used for."""
    from multibox.errors import UsageError
    from multibox.training.recipe import list_recipes, load_recipe

    recipes = [
        recipe
        for recipe in map(load_recipe, list_recipes())
        if has_all((recipe.name, recipe.description, *recipe.models), words)
    ]
    if not recipes:
        raise UsageError(f"no recipe has '{' '.join(words or [])}' in its name, description or models")
    if json:
        typer.echo(json_text.dumps([as_dict(recipe) for recipe in recipes], indent=2, ensure_ascii=False))
        return
    from rich.table import Table

    from multibox.cli.recipe_table import TITLES, cells

    table = Table(box=None, pad_edge=False)
    for title in ("recipe", *TITLES):
        table.add_column(title, overflow="fold")
    for recipe in recipes:
        table.add_row(recipe.name, *cells(recipe))
    make_console(240).print(table, markup=False)


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(help="A recipe's name, or the path of one (.toml).")], json: Json = False
) -> None:
    """One recipe: its source, what differs, and all its options, as its file has them."""
    from multibox.training.recipe import load_recipe

    recipe = load_recipe(name)
    if json:
        typer.echo(json_text.dumps(as_dict(recipe), indent=2, ensure_ascii=False))
    else:
        typer.echo(recipe.path.read_text(encoding="utf-8"), nl=False)


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe in plain types."""
    from dataclasses import asdict

    return {"name": recipe.name, **asdict(recipe), "path": str(recipe.path)}
