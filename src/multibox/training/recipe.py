"""Recipes: how a codebase trained its models, as sheets of options (`recipes/*.toml`) that a training may start from.

What a recipe says of its learning rate and its iterations holds for its own batch; both are brought to the images that
a step of the run really has. Torch-free.
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from multibox.errors import UsageError, did_you_mean
from multibox.spec.network import STRICT
from multibox.training.processes.launched import find_processes
from multibox.zoo import is_weights_file

log = logging.getLogger(__name__)

Table = dict[str, Any]

_OF_A_RUN = (
    "data", "model", "weights", "backbone", "recipe", "names", "split", "val_split", "teacher", "cache", "seed",
    "workers", "threads", "device", "project", "name", "exist_ok",
)  # fmt: skip
"""Options that no recipe may give: they say on what and where somebody trains."""

_RIVALS = (("epochs", "iterations"), ("warmup_epochs", "warmup_steps"))
"""Options that say the same: one that is given takes the place of the other where that comes from below."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RecipeSource:
    """Where the numbers come from: a codebase or paper, the version that was read, and its files."""

    codebase: str
    version: str
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Recipe:
    """One sheet. `options` have the names of `TrainOptions`; `batch` is the total one, for which `lr0` and `iterations`
    hold.
    """

    description: str
    models: tuple[str, ...]
    """The sheets that were trained like this; the first one is taken where none is named."""
    data: str
    """What was learnt, for a person."""
    source: RecipeSource
    differs: tuple[str, ...] = ()
    """What the codebase did otherwise and no option can say."""
    options: dict[str, Any]
    path: Path
    """Its file; not written in it."""

    @property
    def name(self) -> str:
        """That of the file."""
        return self.path.stem


def list_recipes() -> list[str]:
    """The names of all recipes that come with the package, sorted."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def load_recipe(name: str | Path) -> Recipe:
    """A recipe by its name, or by the path of a .toml file.

    Raises `UsageError` naming an unknown name with the nearest one, or the file and the field that is wrong.
    """
    text = str(name)
    if not text.endswith(".toml") and text not in list_recipes():
        hint = did_you_mean(text, list_recipes()) or "; `multibox recipes list` shows all"
        raise UsageError(f"no recipe '{text}'{hint}")
    path = Path(text) if text.endswith(".toml") else _folder() / f"{text}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not a readable recipe ({error})") from None
    recipe = _read(table, path)
    _check(recipe)
    return recipe


def over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> Table:
    """The table `lower` with what `upper` gives in its place.

    An option also takes the place of its rival below (`epochs` that of `iterations`), and a plain yes for crop or
    photometric leaves the ranges below as they are.
    """
    table = dict(lower)
    for pair in _RIVALS:
        if any(key in upper for key in pair):
            for key in pair:
                table.pop(key, None)
    kept = [key for key, value in upper.items() if value is True and isinstance(lower.get(key), dict)]
    return {**table, **{key: value for key, value in upper.items() if key not in kept}}


def apply_recipe(recipe: Recipe, given: Table) -> Table:
    """The recipe's options, its first model, and over them what is given; says what becomes of the learning rate."""
    table = over({"model": recipe.models[0]}, recipe.options)
    own = int(table["batch"])
    if "batch" not in given:
        table["batch"] = max(1, own // _batches(given))
    total = _whole(given.get("batch"), table["batch"]) * _batches(given)
    table["lr0"] = recipe.options["lr0"] * total / own
    if "milestones" in table:
        table["milestones"] = _shares(table)
    if "iterations" in table:
        table["iterations"] = max(1, round(table["iterations"] * own / total))
    if given.get("weights") or is_weights_file(given.get("model") or recipe.models[0]):
        table["pretrained_backbone"] = False
    if given.get("model") not in (None, *recipe.models):
        log.info("recipe %s was used for %s", recipe.name, ", ".join(recipe.models))
    merged = over(table, given)
    _say(recipe, merged, own, total)
    return merged


def _say(recipe: Recipe, merged: Table, own: int, total: int) -> None:
    """One line for the rate, and one for a length in iterations."""
    rate, scaled = recipe.options["lr0"], merged["lr0"]
    log.info("recipe %s: %s", recipe.name, recipe.description)
    if scaled != rate * total / own:
        log.info("learning rate %s as given (the recipe's is %g for %d images)", scaled, rate, own)
    else:
        log.info("learning rate %g for %d images -> %g for %d", rate, own, scaled, total)
    if merged.get("iterations") and "iterations" in recipe.options and own != total:
        steps = recipe.options["iterations"], merged["iterations"]
        log.info("%d iterations of %d images -> %d of %d", steps[0], own, steps[1], total)


def _shares(table: Table) -> list[float]:
    """The milestones as shares of the length, so that they go with it when it is changed."""
    length = table.get("iterations") or table["epochs"]
    return [m if m < 1 else m / length for m in table["milestones"] if m < length]


def _batches(given: Table) -> int:
    """Batches per step of the optimizer, in all processes."""
    return _whole(given.get("accumulate"), 1) * find_processes().world


def _whole(value: object, usual: int) -> int:
    """A number as it was given; what is none is refused later, with all other options."""
    try:
        return max(1, int(value))  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError):
        return usual


def _read(table: Table, path: Path) -> Recipe:
    """The sheet, strictly."""
    known = {"description", "models", "data", "source", "differs", "options"}
    for key in table.keys() - known:
        raise UsageError(f"{path}: unknown field '{key}'{did_you_mean(key, known)}")
    try:
        return TypeAdapter(Recipe).validate_python({**table, "path": path})
    except ValidationError as error:
        first = min(error.errors(), key=lambda each: each["type"] == "missing")  # a misspelt field is missing too
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "unexpected_keyword_argument":
            hint = did_you_mean(str(first["loc"][-1]), ("codebase", "version", "files"))
            raise UsageError(f"{path}: unknown field '{name}'{hint}") from None
        raise UsageError(f"{path}: field '{name}': {first['msg']}") from None


def _check(recipe: Recipe) -> None:
    """Raises `UsageError` for what makes a recipe incomplete, and for options that are none of its business."""
    options = recipe.options
    for key in _OF_A_RUN:
        if key in options:
            raise UsageError(f"{recipe.path}: '{key}' belongs to a run, not to a recipe; give it as --{key}")
    for key in ("batch", "lr0"):
        if not isinstance(options.get(key), int | float):
            raise UsageError(f"{recipe.path}: option '{key}' is missing or no number; the rate holds for a batch")
    if ("epochs" in options) == ("iterations" in options):
        raise UsageError(f"{recipe.path}: give the length by one of 'epochs' and 'iterations'")
    if not recipe.models:
        raise UsageError(f"{recipe.path}: 'models' is empty; name the sheets it is meant for, the usual one first")


def _folder() -> Path:
    return Path(str(resources.files("multibox.training"))) / "recipes"
