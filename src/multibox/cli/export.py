"""`multibox export`: weights -> a file for other runtimes, with one line that says how well it agrees with torch."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from multibox.cli.logs import logs_to_stderr
from multibox.errors import DataError, ModelError, UsageError
from multibox.exporting.order import Batch, Format, Order, Storage, make_order
from multibox.prediction.engines.description import Head, Precision

if TYPE_CHECKING:
    from multibox.exporting.accuracy import Measure
    from multibox.exporting.export import Exported
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
    format: Annotated[Format, typer.Option(help="Kind of file, told by the runtime that it is for.")] = "onnx",
    head: Annotated[
        Head | None,
        typer.Option(
            help="nms: detections; decoded: boxes and scores of all priors (NMS then runs in NumPy); raw: logits and "
            "offsets. None: nms for onnx and openvino, decoded for the others."
        ),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(help="In which the network computes; boxes and NMS stay fp32. int8 needs --calibrate."),
    ] = "fp32",
    size: Annotated[
        str | None, typer.Option(help="Another input than the model's: HEIGHTxWIDTH in pixels, or one side.")
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            "--batch",
            "--batch-size",
            help="Images per run: a number, or dynamic. None: dynamic for onnx, openvino and torch, 1 for the others.",
        ),
    ] = None,
    weights: Annotated[
        Storage,
        typer.Option(help="How an fp32 .onnx stores its weights; they are computed with in fp32. int8: a quarter."),
    ] = "fp32",
    calibrate: Annotated[
        Path | None, typer.Option(help="Images that int8 is fitted to: a folder, or a data set.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A data set: AP before and after int8 is measured on it.")] = None,
    split: Annotated[str, typer.Option(help="Which of its splits.")] = "val",
    max_drop: Annotated[
        float, typer.Option(min=0, help="Points of AP that int8 may lose on --data; a worse file is not left behind.")
    ] = 0.5,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; none: beside the model, with its name.")
    ] = None,
    metrics: Annotated[
        Path | None, typer.Option(help="A metrics.json of `evaluate --save-dir`, to carry inside the file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The outcome as JSON on stdout.")] = False,
) -> None:
    """Write a model for a runtime: pixels in, boxes, scores and labels out, with everything between inside the file.

    The file is compared with torch on photographs; one that does not agree is not left behind (exit code 5). `multibox
    predict` and `evaluate` open what was written.
    """
    name = given or model
    if name is None:
        raise UsageError("name the model to export: a .safetensors, a checkpoint of another codebase, or a sheet")
    order = make_order(
        format,
        head=head,
        precision=precision,
        storage=weights,
        batch=_images_per_run(batch),
        size=_size(size),
        metrics=_read_metrics(metrics) if metrics else None,
        calibration=calibrate,
    )
    _refuse_exported(name)
    measure = _measure(data, split, precision)
    with logs_to_stderr(quiet=False):
        network, known = _load(name)
        order = order if order.metrics else replace(order, metrics=known)
        target = _target(output, name, network.spec.name, order)
        done = _export(network, target, order, measure, max_drop)
    _tell(done, network.spec.name, order, as_json=json)


def _export(network: SSD, target: Path, order: Order, measure: Measure | None, max_drop: float) -> Exported:
    """The export, its calibration with progress on stderr."""
    from multibox.cli.progress import Progress
    from multibox.exporting.export import Judge, export_model

    with Progress(None, shown=order.precision == "int8") as bar:
        return export_model(
            network,
            target,
            order,
            judge=Judge(measure=measure, max_drop=max_drop),
            progress=lambda done, of: bar.step(),
        )


def _tell(done: Exported, name: str, order: Order, *, as_json: bool) -> None:
    """The outcome on stdout."""
    word, file = ("accuracy" if order.precision == "int8" else "parity"), done.files[0]
    if as_json:
        from json import dumps

        facts = {"file": str(file), "files": [str(path) for path in done.files], "bytes": done.bytes, "model": name}
        choice = {"format": order.format, "head": order.head, "precision": order.precision, "weights": order.storage}
        typer.echo(dumps({**facts, **choice, "batch": order.batch, word: asdict(done.agreement)}))
        return
    stored = f", weights {order.storage}" if order.storage != "fp32" else ""
    typer.echo(f"{word}: {done.agreement}")
    typer.echo(
        f"{file}: {name}, {order.format}, head {order.head}, {order.precision}{stored}, {done.bytes / 1e6:.1f} MB"
    )


def _measure(data: Path | None, split: str, precision: Precision) -> Measure | None:
    """What gives the AP of an engine, the data set opened before the long work begins; None where nothing is measured.

    Raises `UsageError` where there is nothing to measure, `DataError` for a data set that cannot be used.
    """
    if data is None:
        return None
    if precision != "int8":
        raise UsageError("--data measures what int8 costs; for other precisions see `multibox evaluate`")
    from multibox.data.open import open_dataset
    from multibox.evaluation.evaluate import evaluate
    from multibox.prediction.detector import Detector

    dataset = open_dataset(data, split)
    return lambda engine: evaluate(Detector(engine), dataset).metrics["AP"]


def _target(output: Path | None, model: str, sheet: str, order: Order) -> Path:
    """Where to: as told, or beside a file with weights, or named after the sheet in the folder where the command runs.

    Raises `UsageError` where that would replace the model itself.
    """
    from multibox.zoo import is_weights_file

    stem = Path(model).with_suffix("") if is_weights_file(model) else sheet
    target = output or Path(f"{stem}{order.kind.ending}")
    if target.resolve() == Path(model).resolve():
        raise UsageError(f"{target} is the model itself; name another file with --output")
    return target


def _refuse_exported(model: str) -> None:
    """Raises `ModelError` for what is an exported file already."""
    from multibox.prediction.engines import is_exported

    if is_exported(Path(model)):
        raise ModelError(f"{model}: is an exported file already; give the weights it was made from")


def _size(word: str | None) -> tuple[int, int] | None:
    """`320x640` (height and width) or `320` as (height, width). Raises `UsageError`."""
    if word is None:
        return None
    sides = word.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise UsageError(f"--size is '{word}'; give HEIGHTxWIDTH in pixels, such as 320x640, or one side")
    return int(sides[0]), int(sides[-1])


def _images_per_run(word: str | None) -> Batch | None:
    """`dynamic` or a number of images, or None for the format's own choice. Raises `UsageError`."""
    if word is None:
        return None
    if word == "dynamic":
        return "dynamic"
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
