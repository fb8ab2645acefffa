"""`multibox benchmark`: how fast a model is here, on every engine, precision and batch; as a table, JSON and a plot."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from multibox.cli.logs import logs_to_stderr
from multibox.errors import MultiboxError, UsageError, did_you_mean

if TYPE_CHECKING:
    from multibox.evaluation.speed import SpeedReport

_PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def benchmark(
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="Exported files, files with weights, sheets; none: 'default'. Several: side by side.",
        ),
    ] = None,
    *,
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="A model as an option.")] = None,
    source: Annotated[
        str | None, typer.Option(help="A picture or a folder; none: a photograph that is installed already.")
    ] = None,
    engines: Annotated[
        str | None, typer.Option(help="openvino, onnxruntime, torch ..., by commas; none: those that are installed.")
    ] = None,
    precisions: Annotated[
        str,
        typer.Option(
            help="fp32, bf16 (OpenVINO, torch); of weights also fp16 and int8. Files in int8 and fp16 run as they are."
        ),
    ] = "fp32",
    calibrate: Annotated[Path | None, typer.Option(help="Images that int8 is fitted to.")] = None,
    batch: Annotated[str, typer.Option("--batch", "--batch-size", help="Pictures per call, by commas.")] = "1,8,32",
    threads: Annotated[int | None, typer.Option(help="CPU threads; none: all cores.")] = None,
    seconds: Annotated[float, typer.Option(help="For each measurement; a configuration has three or four.")] = 2.0,
    rounds: Annotated[int | None, typer.Option(help="A number of rounds instead of seconds.")] = None,
    against: Annotated[
        Literal["torchvision"] | None,
        typer.Option(help="Also run torchvision's own model with the same weights, in turns with each configuration."),
    ] = None,
    random: Annotated[
        bool, typer.Option("--random", help="Random weights for a sheet: about as much passes as after training.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="A picture of it: .png, .svg or .pdf.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")] = False,
) -> None:
    """Measure latency, throughput, start and memory from JPEG bytes to detections.

    Every configuration runs in a process of its own. What fails is named on stderr, the rest is measured, and the exit
    code is 1.
    """
    from multibox.cli.benchmark_files import Wish, prepare_subjects
    from multibox.cli.sample import sample_photo
    from multibox.evaluation.benchmark import BenchmarkOptions, find_pictures
    from multibox.evaluation.benchmark import benchmark as measure
    from multibox.prediction.engines import EngineName
    from multibox.results.speed_plot import check_plot

    chosen = _words("engine", engines, get_args(EngineName)[1:]) if engines else None
    options = BenchmarkOptions(
        engines=chosen, precisions=_words("precision", precisions, _PRECISIONS), batches=_numbers(batch),
        threads=threads, seconds=seconds, rounds=rounds,
    )  # fmt: skip
    if plot is not None:
        check_plot(plot)
    place = source or sample_photo()
    first = find_pictures(place)[0]
    with TemporaryDirectory() as name, logs_to_stderr(quiet):
        folder = Path(name)
        wish = Wish(
            photo=first,
            precisions=options.precisions,
            engines=chosen,
            calibration=calibrate,
            random=random,
            twin=against is not None,
        )
        words = [*(given or []), *(model or [])] or ["default"]
        found = [prepare_subjects(word, folder / str(number), wish) for number, word in enumerate(words)]
        subjects = [subject for subjects in found for subject in subjects]
        report = measure(subjects, place, options, folder, None if quiet else _Told())
    _tell(report, plot, json=json, quiet=quiet)


class _Told:
    """A line on stderr after each configuration, with the time that is left."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, done: int, total: int, told: str) -> None:
        """One more is done."""
        left = round((time.monotonic() - self._start) / done * (total - done))
        typer.echo(f"{done}/{total}  {told}" + (f"  {left // 60}:{left % 60:02d} left" if left else ""), err=True)


def _tell(report: SpeedReport, plot: Path | None, *, json: bool, quiet: bool) -> None:
    """Everything that was found, and the exit code."""
    from multibox.cli.failures import say
    from multibox.cli.speed_table import show_plot, show_report

    if json:
        typer.echo(report.to_json())
    elif report.rows:
        show_report(report)
    if not quiet:
        for note in report.notes:
            typer.echo(f"note: {note}", err=True)
    for problem in report.problems:
        say(problem)
    if plot is not None and report.rows:
        show_plot(report, plot)
        typer.echo(f"plot in {plot}", err=True)
    if report.problems:
        raise typer.Exit(MultiboxError.exit_code)


def _words(kind: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a list by commas. Raises `UsageError` for an unknown one."""
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for word in words:
        if word not in known:
            raise UsageError(f"no {kind} '{word}'{did_you_mean(word, known)} (known: {', '.join(known)})")
    if not words:
        raise UsageError(f"name at least one {kind} (known: {', '.join(known)})")
    return words


def _numbers(text: str) -> tuple[int, ...]:
    """The batches of a list by commas. Raises `UsageError`."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"--batch is '{text}'; give numbers of pictures, as 1,8,32")
    return tuple(dict.fromkeys(int(word) for word in words))
