"""`multibox models list` and `multibox models info NAME`: the sheets that come with the package."""

from __future__ import annotations

import json as json_text
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from multibox.spec import ModelSpec

app = typer.Typer(
    no_args_is_help=True,
    help="List the models, or show one.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("list")
def list_all(json: _Json = False) -> None:
    """All models: input, parameters, priors, classes, published accuracy, licence."""
    from multibox.zoo import list_models, load_spec

    rows = [_summary(load_spec(name)) for name in list_models()]
    if json:
        typer.echo(json_text.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for title in ("input", "parameters", "priors", "classes"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("published", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    for row in rows:
        first = row["metrics"][0] if row["metrics"] else None
        table.add_row(
            row["name"],
            f"{row['input'][0]}x{row['input'][1]}",
            _number(row["parameters"]),
            _number(row["priors"]),
            str(row["classes"]) if row["classes"] else "yours",
            f"{first['metric']} {first['value']:g} {first['dataset']}" if first else "-",
            row["licence"],
        )
    _print(Console(), table)


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(help="A model's name, an alias, or the path of a sheet (.toml).")],
    json: _Json = False,
) -> None:
    """One model: everything its sheet says."""
    from multibox.sheet import to_json
    from multibox.zoo import load_spec

    spec = load_spec(name)
    sheet: dict[str, Any] = json_text.loads(to_json(spec))
    if json:
        typer.echo(json_text.dumps({"name": spec.name, **sheet}, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("name", spec.name)
    for key, value in sheet.items():
        if words := _words(value) if value is not None else "":
            table.add_row(key, words)
    _print(Console(), table)


def _summary(spec: ModelSpec) -> dict[str, Any]:
    """The facts of the list; parameters and priors are those that the tests hold the sheet to."""
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "description": spec.description,
        "input": [spec.input.width, spec.input.height],
        "parameters": spec.check.parameters if spec.check else None,
        "priors": spec.check.priors if spec.check else None,
        "classes": len(spec.labels.names),
        "metrics": [{"dataset": m.dataset, "metric": m.metric, "value": m.value} for m in spec.metrics],
        "licence": spec.licence,
        "weights": spec.weights.url if spec.weights else None,
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


def _number(value: int | None) -> str:
    """With thousands apart; a dash for a sheet that states none."""
    return f"{value:,}" if value is not None else "-"


def _print(console: Any, table: Any) -> None:
    """The table in its full width where it is piped elsewhere."""
    if not console.is_terminal:
        console.width = 200
    console.print(table, markup=False, highlight=False)
