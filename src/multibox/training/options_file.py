"""Options as text: YAML files, recipes and tables of names and values, with a sentence for what is wrong in them."""

from __future__ import annotations

from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from multibox.data.photometric import Photometric
from multibox.data.window import CropRule
from multibox.errors import UsageError, did_you_mean
from multibox.training.options import TrainOptions
from multibox.training.recipe import apply_recipe, load_recipe, over

_KNOWN = {field.name: field for field in fields(TrainOptions)}
_PARTS = {kind.__name__: [field.name for field in fields(kind)] for kind in (CropRule, Photometric)}
"""Options that are tables: class -> their names."""


def to_table(options: TrainOptions) -> dict[str, Any]:
    """Names and plain values, as `args.yaml` holds them."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(options).items()}


def read_options(path: Path, changes: dict[str, Any]) -> TrainOptions:
    """The options of a YAML file, some changed. Raises `UsageError` naming the file, the key and the nearest one.

    A run's own file leaves nothing open: the recipe that it names is not needed again.
    """
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: not a readable file of options ({' '.join(str(error).split())})") from None
    if not isinstance(table, dict):
        raise UsageError(f"{path}: not a table of options, such as 'epochs: 60'")
    whole = over(table, changes)
    return _complete(whole, str(path)) if table.keys() >= _KNOWN.keys() else make_options(whole, where=str(path))


def make_options(table: dict[str, Any], where: str = "options") -> TrainOptions:
    """The options of a table of names and values; what it leaves open is the recipe's, where it names one.

    Raises `UsageError` naming the key and what is wrong with it.
    """
    _refuse_unknown(table, where)
    if table.get("recipe") is not None:
        recipe = load_recipe(table["recipe"])
        _refuse_unknown(recipe.options, str(recipe.path))
        _read({"data": "", "model": recipe.models[0], **recipe.options}, str(recipe.path))
        table = apply_recipe(recipe, table)
    return _complete(table, where)


def _complete(table: dict[str, Any], where: str) -> TrainOptions:
    """The options of a table to which a recipe has nothing to add."""
    _refuse_unknown(table, where)
    missing = [key for key, field in _KNOWN.items() if field.default is MISSING and key not in table]
    if missing:
        raise UsageError(f"{where}: option '{missing[0]}' is missing")
    return _read(table, where)


def _refuse_unknown(table: dict[str, Any], where: str) -> None:
    """Raises `UsageError` for the first name that is no option's."""
    for key in table:
        if key not in _KNOWN:
            raise UsageError(f"{where}: unknown option '{key}'{did_you_mean(str(key), _KNOWN)}")


def _read(table: dict[str, Any], where: str) -> TrainOptions:
    """The options, their types checked."""
    try:
        return TypeAdapter(TrainOptions).validate_python(table)
    except ValidationError as error:
        first = max(error.errors(), key=lambda each: len(each["loc"]))  # of a table, what is wrong in it
        name = ".".join(str(part) for part in first["loc"] if part not in ("bool", *_PARTS))
        if first["type"] == "unexpected_keyword_argument":
            hint = did_you_mean(str(first["loc"][-1]), _PARTS[str(first["loc"][-2])])
            raise UsageError(f"{where}: unknown option '{name}'{hint}") from None
        raise UsageError(f"{where}: option '{name}': {first['msg']}") from None
    except UsageError as error:
        raise UsageError(str(error) if where == "options" else f"{where}: {error}") from None
