"""`multibox models list` and `multibox models info NAME`: the sheets that come with the package."""

from __future__ import annotations

import json as json_text
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multibox.cli.listing import Json, has_all, make_console, make_group

if TYPE_CHECKING:
    from multibox.spec import ModelSpec

app = make_group("List the models, or show one.")


@app.command("list")
def list_all(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORD]...", help="Only models with all these words in name, alias or description."),
    ] = None,
    json: Json = False,
) -> None:
    """The models: input, parameters, GMACs, priors, published accuracy, licence, and whether weights are published."""
    from multibox.errors import ModelError
    from multibox.zoo import list_models, load_spec

    specs = [
        spec for spec in map(load_spec, list_models()) if has_all((spec.name, *spec.aliases, spec.description), words)
    ]
    if not specs:
        raise ModelError(f"no model has '{' '.join(words or [])}' in its name, aliases or description")
    if json:
        typer.echo(json_text.dumps([_summary(spec) for spec in specs], indent=2, ensure_ascii=False))
    else:
        from multibox.cli.model_table import show

        show(specs)


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(help="A model's name, an alias, or the path of a sheet (.toml).")],
    json: Json = False,
) -> None:
    """One model: everything its sheet says."""
    from multibox.sheet import to_json
    from multibox.zoo import load_spec

    spec = load_spec(name)
    sheet: dict[str, Any] = json_text.loads(to_json(spec))
    if json:
        typer.echo(json_text.dumps({"name": spec.name, **sheet}, indent=2, ensure_ascii=False))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("name", spec.name)
    for key, value in sheet.items():
        if words := _words(value) if value is not None else "":
            table.add_row(key, words)
    make_console(200).print(table, markup=False)


def _summary(spec: ModelSpec) -> dict[str, Any]:
    """The facts of the list; parameters, priors and multiply-accumulates are those that the tests hold the sheet to."""
    from dataclasses import asdict

    check = spec.check
    return {
        "name": spec.name,
        "architecture": spec.architecture,
        "tag": spec.tag,
        "aliases": list(spec.aliases),
        "description": spec.description,
        "input": [spec.input.width, spec.input.height],
        "parameters": check.parameters if check else None,
        "macs": check.macs if check else None,
        "priors": check.priors if check else None,
        "classes": len(spec.labels.names),
        "metrics": [asdict(metric) for metric in spec.metrics],
        "licence": spec.licence,
        "weights": asdict(spec.weights) if spec.weights else None,
    }


def _words(value: object) -> str:
    """A part of a sheet as a person reads it: `field value` pairs; lists of parts on lines of their own, at the end."""
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if part not in (None, [], "", {})}
        pairs = ", ".join(f"{key} {_words(part)}" for key, part in kept.items() if not _has_parts(part))
        blocks = [f"{key}:\n{_words(part)}" for key, part in kept.items() if _has_parts(part)]
        return "\n".join(filter(None, [pairs, *blocks]))
    if isinstance(value, list):
        return ("\n" if _has_parts(value) else " ").join(_words(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _has_parts(value: object) -> bool:
    """Whether this is a list of tables."""
    return isinstance(value, list) and any(isinstance(part, dict) for part in value)
