"""`multibox evaluate`: a model measured on a dataset, as a table or as JSON."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from multibox.cli.running import EngineOption, PrecisionOption
from multibox.cli.tiling import OverlapOption, TilesOption, WholeOption, tiles_of
from multibox.errors import DataError

if TYPE_CHECKING:
    from multibox.data.dataset import Dataset
    from multibox.evaluation.evaluate import Progress as Progressed
    from multibox.evaluation.report import Report
    from multibox.prediction.detector import Detector
    from multibox.prediction.tiles import Tiles
    from multibox.training.processes.launched import Processes


def evaluate(
    given: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="A file with weights, an exported .onnx, or a sheet; none: 'default'."),
    ] = None,
    *,
    data: Annotated[Path, typer.Option("--data", "-d", help="The dataset's folder, in VOC or COCO layout.")],
    model: Annotated[str, typer.Option("--model", "-m", help="The model as an option.")] = "default",
    split: Annotated[str, typer.Option(help="Which of the dataset's splits.")] = "val",
    engine: EngineOption = "auto",
    batch: Annotated[int, typer.Option("--batch", "--batch-size", min=1, help="Images per run of the network.")] = 8,
    conf: Annotated[
        float | None,
        typer.Option("--conf", "--threshold", min=0, max=1, help="Least score; none: the model's own threshold."),
    ] = None,
    tiles: TilesOption = None,
    tile_overlap: OverlapOption = 0.2,
    tile_whole: WholeOption = True,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first images of the split.")] = None,
    precision: PrecisionOption = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the engine.")] = None,
    save_dir: Annotated[
        Path | None, typer.Option("--save-dir", help="Write metrics.json, predictions.json, precision_recall.csv here.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")] = False,
) -> None:
    """Measure a model on a dataset: COCO's 12 numbers, VOC's mAP, AP of every class, speed.

    Classes are matched by name. What is wrong with the data is named on stderr; where that made an image or an object
    unusable, the rest is measured and the exit code is 3.
    """
    from multibox.cli.failures import say
    from multibox.cli.logs import logs_to_stderr
    from multibox.cli.progress import Progress
    from multibox.data.open import open_dataset
    from multibox.prediction.detector import load
    from multibox.training.processes.launched import find_processes

    cuts = tiles_of(tiles, tile_overlap, tile_whole)
    dataset = open_dataset(data, split)
    if limit is not None:
        dataset = replace(dataset, records=dataset.records[:limit])
    processes = find_processes()
    with logs_to_stderr(quiet, processes.rank):
        detector = load(given or model, engine, threads=threads, precision=precision)
    with Progress(-(-len(dataset) // processes.world), shown=not quiet and processes.rank == 0) as progress:
        report = _measure(detector, dataset, processes, batch, conf, cuts, lambda done, total: progress.step())
    if report is None:
        return
    if save_dir is not None:
        report.save(save_dir)
    if not quiet:
        _note(report, dataset)
    if json:
        typer.echo(report.to_json())
    else:
        _show(report)
    fatal = [str(problem) for problem in dataset.problems if problem.fatal]
    for sentence in (*fatal, *report.problems):
        say(sentence)
    if fatal or report.problems:
        raise typer.Exit(DataError.exit_code)


def _measure(
    detector: Detector,
    dataset: Dataset,
    processes: Processes,
    batch: int,
    conf: float | None,
    tiles: Tiles | None,
    progress: Progressed,
) -> Report | None:
    """The report; none where rank 0 of several processes has it."""
    from multibox.evaluation.evaluate import evaluate
    from multibox.evaluation.sharing import find_share, score_shares

    if processes.world == 1:
        return evaluate(detector, dataset, batch=batch, conf=conf, progress=progress, tiles=tiles)
    from multibox.training.processes import group

    with group.joined("cpu"):
        rank, world = processes.rank, processes.world
        share = find_share(
            detector, dataset, rank=rank, world=world, batch=batch, conf=conf, progress=progress, tiles=tiles
        )
        shares = group.gather(share)
        return score_shares(detector, dataset, shares) if shares else None


def _note(report: Report, dataset: Dataset) -> None:
    """What a reader of the numbers must know, on stderr."""
    for problem in dataset.problems:
        if not problem.fatal:
            typer.echo(f"note: {problem}", err=True)
    if report.missing:
        typer.echo(f"note: the model does not know {_list(report.missing)}; their objects count as missed", err=True)
    if report.dropped:
        typer.echo(f"note: the dataset lacks {_list(report.dropped)}; such detections do not count", err=True)


def _list(names: tuple[str, ...]) -> str:
    """The first names and how many follow."""
    shown = ", ".join(f"'{name}'" for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _show(report: Report) -> None:
    """The report as tables on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(
        f"{report.model} on {report.dataset} ({report.split}): {report.images} images, {report.objects} objects, "
        f"{report.engine}, {report.seconds:.1f} s, {report.images_per_second:.1f} img/s",
        markup=False,
        soft_wrap=True,
    )
    classes = Table(box=None, pad_edge=False)
    classes.add_column("class")
    for title in ("objects", "found", "AP", "AP50", "voc07", "voc"):
        classes.add_column(title, justify="right")
    for row in report.per_class:
        if row.objects or row.detections:
            scores = (_score(value) for value in (row.AP, row.AP50, row.voc07_AP, row.voc_AP))
            classes.add_row(row.name, str(row.objects), str(row.detections), *scores)
    console.print(classes)
    metrics = Table(box=None, pad_edge=False)
    for title in ("metric", "value"):
        metrics.add_column(title, justify="left" if title == "metric" else "right")
    for name, value in report.metrics.items():
        metrics.add_row(name, _score(value))
    console.print(metrics)


def _score(value: float) -> str:
    """Three digits; a dash where nothing was measured."""
    return f"{value:.3f}" if value >= 0 else "-"
