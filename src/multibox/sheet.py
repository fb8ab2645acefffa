"""A model's spec as text: TOML sheets and JSON, in and out, and a sentence for what is wrong in them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from multibox.errors import ModelError, did_you_mean
from multibox.spec import ModelSpec

_ADAPTER: TypeAdapter[ModelSpec] = TypeAdapter(ModelSpec)


def to_json(spec: ModelSpec) -> str:
    """The spec as one line of JSON; `from_json(to_json(s)) == s`."""
    return _ADAPTER.dump_json(spec, exclude_defaults=False).decode()


def from_json(text: str, where: str = "metadata") -> ModelSpec:
    """The spec that `to_json` wrote. Raises `ModelError` naming `where` and the field."""
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise ModelError(f"{where}: {_first(error)}") from None


def read_sheet(path: Path) -> ModelSpec:
    """The spec of a TOML sheet. Raises `ModelError` naming the file, the field and the nearest known one."""
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path}: not a readable sheet ({error})") from None
    try:
        return _ADAPTER.validate_python(table)
    except ValidationError as error:
        raise ModelError(f"{path}: {_first(error)}") from None


def to_toml(spec: ModelSpec) -> str:
    """The spec as a sheet for people, without what is as by default; `read_sheet` reads it back as it was."""
    table = json.loads(_ADAPTER.dump_json(spec, exclude_defaults=True))
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = [f"{key} = {_toml(value)}" for key, value in plain.items()]
    for key in (key for key in table if key not in plain):
        lines += ["", f"[{key}]", *(f"{name} = {_toml(value)}" for name, value in table[key].items())]
    return "\n".join(lines) + "\n"


def write_sheet(spec: ModelSpec, path: Path) -> None:
    """Writes the spec as a TOML sheet, to change it by hand and give its path as a model."""
    path.write_text(to_toml(spec), encoding="utf-8")


def changed(spec: ModelSpec, changes: Mapping[str, Any]) -> ModelSpec:
    """The spec with other values of some fields, dotted as in `backbone.width`.

    Its stated facts are dropped, unless those are the values that it has. Raises `ModelError` naming a field that is
    unknown or cannot have that value.
    """
    if not changes:
        return spec
    bare = replace(spec, check=None, metrics=(), weights=None)
    table = json.loads(to_json(bare))
    for name, value in changes.items():
        *parts, last = name.split(".")
        part = table
        for key in parts:
            part = part[key]
        part[last] = value
    other = from_json(json.dumps(table), spec.name)
    return spec if other == bare else other


def _toml(value: Any) -> str:
    """A value of JSON in TOML; lists of tables one table a line."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(part)}' for key, part in value.items())} }}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + "".join(f"  {_toml(part)},\n" for part in value) + "]"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _first(error: ValidationError) -> str:
    """The first problem as words: where, what, and the nearest known field where a key is unknown."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "unexpected_keyword_argument":
        return f"unknown field '{where}'{did_you_mean(str(first['loc'][-1]), _all_fields())}"
    return f"field '{where}': {first['msg']}"


def _all_fields() -> set[str]:
    """The names of all fields of all parts of a sheet."""
    schema = _ADAPTER.json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name in part.get("properties", {})}
