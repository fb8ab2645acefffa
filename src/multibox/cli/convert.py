"""`multibox convert`: another codebase's checkpoint -> our own file, and what was recognised in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from multibox.cli.logs import logs_to_stderr
from multibox.errors import UsageError

if TYPE_CHECKING:
    from multibox.zoo.convert import Conversion


def convert(
    given: Annotated[
        str, typer.Argument(metavar="THEIR_FILE", help="A checkpoint of any codebase, or a sheet of published weights.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="The file to write.")],
    *,
    sheet: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="The sheet, in place of the one that is recognised.")
    ] = None,
    names: Annotated[
        str | None,
        typer.Option("--names", "--classes", help="Classes of the file: a,b,c or a text file, one per line."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="What was recognised, as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes on stderr.")] = False,
) -> None:
    """Read weights of another codebase and write them as one file that describes itself.

    Which codebase and model it is, is told by the file's content.
    """
    from multibox.zoo.convert import convert as run

    with logs_to_stderr(quiet):
        done = run(given, out, sheet, None if names is None else _read_names(names))
    if json:
        from json import dumps

        typer.echo(dumps(_facts(done), indent=2, ensure_ascii=False))
    else:
        _show(done)


def _read_names(text: str) -> list[str]:
    """The lines of a file, or words between commas. Raises `UsageError`."""
    path = Path(text)
    if not path.is_file():
        if path.suffix == ".txt":
            raise UsageError(f"{path}: no such file of names")
        return [word.strip() for word in text.split(",") if word.strip()]
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a readable text of names ({error})") from None


def _facts(done: Conversion) -> dict[str, object]:
    """The outcome in plain types."""
    spec = done.spec
    return {
        "file": str(done.file),
        "bytes": done.file.stat().st_size,
        "sheet": done.sheet,
        "model": spec.name,
        "description": spec.description,
        "tensors": done.tensors,
        "parameters": done.parameters,
        "classes": len(spec.labels.names),
        "names": list(spec.labels.names),
        "input": [spec.input.width, spec.input.height],
        "licence": spec.licence,
    }


def _show(done: Conversion) -> None:
    """The outcome, a line per fact."""
    spec, names = done.spec, done.spec.labels.names
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    typer.echo(f"recognised  {done.sheet or f'multibox {spec.name}'}: {spec.description}")
    typer.echo(f"tensors     {done.tensors}, {done.parameters / 1e6:.2f} M parameters")
    typer.echo(f"classes     {len(names)}: {shown}")
    typer.echo(f"input       {spec.input.width}x{spec.input.height}")
    typer.echo(f"written     {done.file}, {done.file.stat().st_size / 1e6:.1f} MB")
    typer.echo(f"use it      multibox predict photo.jpg --model {done.file}")
