"""Writes the table of training recipes, made from their files, into docs/train.md.

`python docs/recipe_table.py` rewrites the page; `--check` only says whether it is up to date (exit code 1 if not).
"""

from __future__ import annotations

import sys
from pathlib import Path

from multibox.cli.recipe_table import TITLES, cells
from multibox.training.recipe import Recipe, list_recipes, load_recipe

PAGE = Path(__file__).resolve().parent / "train.md"
BEGIN, END = "<!-- recipes: made by docs/recipe_table.py -->\n", "<!-- end of recipes -->"


def table(recipes: list[Recipe]) -> str:
    """A line per recipe, with the columns of `multibox recipes list`."""
    rows = [("recipe", *TITLES), *((f"`{each.name}`", *cells(each)) for each in recipes)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * (1 + len(TITLES)) + "|", *lines[1:]])


def main() -> None:
    """Rewrites or checks the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    todays = f"{before}{BEGIN}\n{table([load_recipe(name) for name in list_recipes()])}\n\n{END}{after}"
    if "--check" not in sys.argv:
        PAGE.write_text(todays, encoding="utf-8")
    elif text != todays:
        sys.exit(f"run python docs/recipe_table.py: out of date is {PAGE.name}")


if __name__ == "__main__":
    main()
