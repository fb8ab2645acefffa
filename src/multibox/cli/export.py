"""`multibox export`: weights -> a file for other runtimes, with one line that says how well it agrees with torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from multibox.cli.logs import logs_to_stderr
from multibox.errors import DataError, ModelError, UsageError

if TYPE_CHECKING:
    from multibox.network.model import SSD


def export(
    given: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="A checkpoint, ours or of another codebase, or a sheet whose weights are published."
        ),
    ] = None,
    *,
    model: Annotated[str | None, typer.Option("--model", "-m", help="The model as an option.")] = None,
    format: Annotated[Literal["onnx"], typer.Option(help="Kind of file.")] = "onnx",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; none: beside the model, with its name.")
    ] = None,
    batch: Annotated[
        str, typer.Option("--batch", "--batch-size", help="Images per run: a number, or dynamic.")
    ] = "dynamic",
    weights: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="How weights are stored; they are computed with in fp32. int8: a quarter of the size."),
    ] = "fp32",
    metrics: Annotated[
        Path | None, typer.Option(help="A metrics.json of `evaluate --save-dir`, to carry inside the file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The outcome as JSON on stdout.")] = False,
) -> None:
    """Write a model as ONNX: pixels in, boxes, scores and labels out, with everything between inside the file.

    The file is compared with torch on photographs; one that does not agree is not left behind (exit code 5).
    """
    name = given or model
    if name is None:
        raise UsageError("name the model to export: a .safetensors, a checkpoint of another codebase, or a sheet")
    images = _images_per_run(batch)
    if name.lower().endswith(".onnx"):
        raise ModelError(f"{name}: is an exported file already; give the weights it was made from")
    with logs_to_stderr(quiet=False):
        network, known = _load(name)
    measured = _read_metrics(metrics) if metrics else known
    from multibox.exporting.onnx import export_onnx

    target = output or _target(name, network.spec.name, format)
    parity = export_onnx(network, target, metrics=measured, weights=weights, batch=images)
    if json:
        from json import dumps

        facts = {"file": str(target), "bytes": target.stat().st_size, "model": network.spec.name, "weights": weights}
        typer.echo(dumps({**facts, "batch": images, "parity": asdict(parity)}))
    else:
        typer.echo(f"parity: {parity}")
        typer.echo(f"{target}: {network.spec.name}, weights {weights}, {target.stat().st_size / 1e6:.1f} MB")


def _target(model: str, sheet: str, ending: str) -> Path:
    """Beside a file with weights, or named after the sheet in the folder where the command runs."""
    from multibox.zoo import is_weights_file

    return Path(f"{Path(model).with_suffix('') if is_weights_file(model) else sheet}.{ending}")


def _images_per_run(word: str) -> int | None:
    """`dynamic` (None) or a number of images. Raises `UsageError`."""
    if word == "dynamic":
        return None
    if word.isdecimal() and int(word) > 0:
        return int(word)
    raise UsageError(f"--batch is '{word}'; give a number of images, or dynamic")


def _read_metrics(path: Path) -> dict[str, object]:
    """The metrics that `evaluate` wrote, without its table of classes. Raises `DataError`."""
    from json import loads

    try:
        report = loads(path.read_text(encoding="utf-8"))
        facts = {key: report[key] for key in ("split", "images", "metrics")}
        return {"dataset": Path(report["dataset"]).name, **facts}  # the folder's place says nothing to others
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a metrics.json of 'multibox evaluate --save-dir' ({error})") from None


def _load(model: str) -> tuple[SSD, dict[str, object]]:
    """The network of a weights file or a sheet, and the metrics written into the file. Raises `ModelError`."""
    from multibox.zoo.models import assemble, find_weights

    loaded = find_weights(model)
    return assemble(loaded, model), loaded.metrics
