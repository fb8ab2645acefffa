"""`multibox recipes list` and `multibox recipes info NAME`: how the codebases trained, to train alike."""

from __future__ import annotations

import json as json_text
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from multibox.training.recipe import Recipe

app = typer.Typer(
    no_args_is_help=True,
    help="List the training recipes, or show one.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("list")
def list_all(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORD]...", help="Only recipes with all these words in name, description or models."),
    ] = None,
    json: _Json = False,
) -> None:
    """The recipes: length, batch, learning rate, schedule, and the models that they were used for."""
    from multibox.errors import UsageError
    from multibox.training.recipe import list_recipes, load_recipe

    recipes = [recipe for recipe in map(load_recipe, list_recipes()) if _has_all(recipe, words or [])]
    if not recipes:
        raise UsageError(f"no recipe has '{' '.join(words or [])}' in its name, description or models")
    if json:
        typer.echo(json_text.dumps([as_dict(recipe) for recipe in recipes], indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    from multibox.cli.recipe_table import TITLES, cells

    table = Table(box=None, pad_edge=False)
    for title in ("recipe", *TITLES):
        table.add_column(title, overflow="fold")
    for recipe in recipes:
        table.add_row(recipe.name, *cells(recipe))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 240
    console.print(table, markup=False)


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(help="A recipe's name, or the path of one (.toml).")], json: _Json = False
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


def _has_all(recipe: Recipe, words: list[str]) -> bool:
    """Whether every word stands in the recipe's name, description or models, in any case."""
    text = " ".join((recipe.name, recipe.description, *recipe.models)).casefold()
    return all(word.casefold() in text for word in words)
