"""`multibox predict-many`: millions of pictures in, Parquet files out, on the workers of a Ray cluster."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from typing import Annotated

import typer

from multibox.cli.logs import logs_to_stderr
from multibox.cli.running import EngineOption, PrecisionOption
from multibox.errors import DataError, MultiboxError, UsageError

_NEEDS = ("ray", "pyarrow", "pandas")
"""What the extra brings."""


def predict_many(
    source: Annotated[
        list[str] | None,
        typer.Argument(help="Folders, pictures, Parquet tables; paths or addresses (s3://bucket/folder)."),
    ] = None,
    sources: Annotated[
        list[str] | None, typer.Option("--source", help="The same as an option; may be repeated.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Folder or address of the results; an unfinished run goes on.")
    ] = None,
    ray: Annotated[
        str, typer.Option("--ray", help="'local' starts Ray here; 'auto' or an address joins a cluster.")
    ] = "local",
    workers: Annotated[int | None, typer.Option(help="Worker processes; as many as there are CPUs or GPUs.")] = None,
    threads: Annotated[int, typer.Option(help="CPUs of each worker.")] = 1,
    gpus: Annotated[float, typer.Option(help="GPUs of each worker; 0.5 puts two on one.")] = 0.0,
    model: Annotated[str, typer.Option("--model", "-m", help="A file with weights or an exported one.")] = "default",
    engine: EngineOption = "auto",
    precision: PrecisionOption = None,
    conf: Annotated[float, typer.Option("--conf", "--threshold", help="Least score, 0..1.")] = 0.25,
    max_det: Annotated[int | None, typer.Option(help="At most this many objects per picture, the surest.")] = None,
    classes: Annotated[
        list[str] | None, typer.Option(help="Only these classes: names, separated by commas or repeated.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", "--batch-size", help="Pictures per run of the network.")] = 1,
    shard_size: Annotated[int, typer.Option(help="Pictures per file of results.")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="The summary as one JSON object on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Find objects in millions of pictures, with Ray; one row per picture in Parquet files.

    Run again after whatever ended it, it goes on. A picture that cannot be read becomes a row with an error; the exit
    code is then 3.
    """
    from multibox.cli.progress import Progress

    if output is None:
        raise UsageError("predict-many needs --output, the folder of its results")
    words = [*(source or []), *(sources or [])]
    if not words:
        raise UsageError("predict-many needs a folder, a Parquet table or an address to read from")
    try:
        from multibox.scale.cluster import Workers
        from multibox.scale.run import Options, predict_many
    except ModuleNotFoundError as error:
        raise _without(error) from None

    with logs_to_stderr(quiet), ExitStack() as stack:
        bars: list[Progress] = []

        def watch(done: int, of: int) -> None:
            if not bars:
                bars.append(stack.enter_context(Progress(of, shown=not quiet)))
            bars[0].step(done)

        try:
            summary = predict_many(
                words,
                output,
                model=model,
                engine=engine,
                options=Options(
                    precision=precision,
                    conf=conf,
                    max_det=max_det,
                    classes=_words(classes),
                    batch=batch,
                    shard_size=shard_size,
                ),
                workers=Workers(ray=ray, count=workers, threads=threads, gpus=gpus),
                watch=watch,
            )
        except ModuleNotFoundError as error:
            raise _without(error) from None
    if json:
        from json import dumps

        typer.echo(dumps(asdict(summary)))
    elif not quiet:
        unread = f", {summary.errors:,} of them not readable" if summary.errors else ""
        typer.echo(
            f"{summary.pictures:,} pictures, each exactly once{unread}, in {summary.shards:,} files; "
            f"results in {summary.output}"
        )
    if summary.errors:
        raise typer.Exit(DataError.exit_code)


def _without(error: ModuleNotFoundError) -> Exception:
    """The sentence for an installation without the extra; any other error as it is."""
    package = (error.name or "").partition(".")[0]
    if package not in _NEEDS:
        return error
    return MultiboxError(f"predict-many needs {package}, which is not installed; run: pip install 'multibox[ray]'")


def _words(texts: list[str] | None) -> tuple[str, ...] | None:
    """Words out of repeated and comma-separated options."""
    if not texts:
        return None
    return tuple(word.strip() for text in texts for word in text.split(",") if word.strip())
