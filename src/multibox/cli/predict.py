"""`multibox predict`: pictures and videos in, objects on the screen, in pictures and in files out."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from multibox.cli.ending import INTERRUPTED, Ending
from multibox.cli.logs import logs_to_stderr
from multibox.cli.running import EngineOption, PrecisionOption
from multibox.cli.sample import sample_photo
from multibox.cli.tiling import OverlapOption, TilesOption, WholeOption, tiles_of
from multibox.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multibox.cli.progress import Progress
    from multibox.prediction.detector import Detector
    from multibox.prediction.sources import Entry
    from multibox.results.prediction import Prediction

_MANY = 16
"""From so many files on, it is their number per second that counts."""


def predict(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            help="Images, videos, folders, globs, cameras (0, camera:0), addresses of streams (rtsp://...). "
            "Without any: a photograph that is installed already."
        ),
    ] = None,
    sources: Annotated[
        list[str] | None, typer.Option("--source", help="The same as an option; may be repeated.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A file with weights, an exported .onnx, a sheet, or 'default'.")
    ] = "default",
    engine: EngineOption = "auto",
    conf: Annotated[
        float,
        typer.Option(
            "--conf", "--threshold", help="Least score, 0..1; below the model's own threshold that one holds."
        ),
    ] = 0.25,
    max_det: Annotated[int | None, typer.Option(help="At most this many objects per picture, the surest.")] = None,
    classes: Annotated[
        list[str] | None, typer.Option(help="Only these classes: names, separated by commas or repeated.")
    ] = None,
    format: Annotated[
        str, typer.Option(help="Files to write: json, coco, voc, yolo, csv, separated by commas; or none.")
    ] = "json",
    save: Annotated[bool, typer.Option("--save/--no-save", help="Write pictures and videos with boxes.")] = True,
    project: Annotated[Path, typer.Option("--project", "--output-dir", help="Folder of the run folders.")] = Path(
        "runs/predict"
    ),
    name: Annotated[str, typer.Option(help="Name of the run folder; it gets a number where it exists.")] = "predict",
    exist_ok: Annotated[bool, typer.Option("--exist-ok", help="Write into an existing run folder.")] = False,
    batch: Annotated[int, typer.Option("--batch", "--batch-size", help="Pictures per run of the network.")] = 1,
    vid_stride: Annotated[int, typer.Option(help="Take every n-th frame of a video or a stream.")] = 1,
    tiles: TilesOption = None,
    tile_overlap: OverlapOption = 0.2,
    tile_whole: WholeOption = True,
    max_frames: Annotated[int | None, typer.Option(help="End after so many pictures and frames.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End so many seconds after the first picture or frame.")] = None,
    reconnect: Annotated[
        int, typer.Option(min=0, help="Tries to connect to a live source again, with growing pauses.")
    ] = 5,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds without a frame after which a live source counts as lost.")
    ] = 10.0,
    precision: PrecisionOption = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the engine.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per picture on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Find objects in images, videos and streams; write pictures with boxes, and the boxes as files.

    A picture that cannot be read is named on stderr and the others are processed; the exit code is then 3. A
    stream runs until it is lost, until --seconds or --max-frames, or until Ctrl-C; its files are completed each time.
    """
    from multibox.cli.progress import Progress
    from multibox.prediction.detector import load
    from multibox.prediction.live import Live
    from multibox.prediction.sources import count, expand
    from multibox.results.files import run_folder
    from multibox.results.save import Saver

    formats, cuts = _formats(format), tiles_of(tiles, tile_overlap, tile_whole)
    entries = list(expand([*(source or []), *(sources or [])] or sample_photo()))
    with logs_to_stderr(quiet):
        detector = load(model, engine, threads=threads, precision=precision, calls=_calls(entries, threads))
    ending = Ending(max_frames, seconds, signals=any(entry.address is not None for entry in entries))
    found = detector.stream(
        entries,
        conf,
        batch=batch,
        max_det=max_det,
        classes=_words(classes),
        vid_stride=vid_stride,
        keep_image=save,
        tiles=cuts,
        live=Live(reconnect=reconnect, timeout=timeout, stop=ending),
    )
    talk = _Talk(detector, json=json, quiet=quiet)
    with ExitStack() as stack:
        stack.enter_context(ending)
        saver = None
        if save or formats:
            folder = run_folder(project, name, exist_ok=exist_ok)
            labels = detector.spec.labels
            saver = stack.enter_context(Saver(folder, labels.names, labels.ids, formats=formats, pictures=save))
        progress = stack.enter_context(Progress(count(entries, vid_stride), shown=not quiet))
        stack.enter_context(logs_to_stderr(quiet))
        stack.enter_context(closing(found))
        for prediction in found:
            talk.say(prediction, progress)
            if saver is not None:
                saver.add(prediction)
            progress.step(note=_liveness(prediction))
            if ending.after(talk.done):
                break
    talk.end(folder if saver is not None else None)
    if ending.interrupted:
        raise typer.Exit(INTERRUPTED)
    if talk.failed:
        raise typer.Exit(DataError.exit_code)


class _Talk:
    """What is printed: results on stdout, everything else on stderr."""

    def __init__(self, detector: Detector, *, json: bool, quiet: bool) -> None:
        self._names, self._json, self._quiet = detector.names, json, quiet
        self.done = self.failed = 0

    def say(self, prediction: Prediction, progress: Progress) -> None:
        """One picture's line."""
        self.done += 1
        if prediction.error is not None:
            self.failed += 1
            progress.show(f"error: {prediction.error}", err=True)
        if self._json:
            from json import dumps

            from multibox.results.rows import as_table

            progress.show(dumps(as_table(prediction, self._names), ensure_ascii=False))
        elif prediction.error is None and not self._quiet:
            progress.show(f"{prediction.source}: {_summary(prediction)}  {1000 * prediction.seconds:.0f} ms")

    def end(self, folder: Path | None) -> None:
        """Where the results are, and how many pictures there were."""
        if self._quiet:
            return
        text = f"{self.done} image{'' if self.done == 1 else 's'}"
        if self.failed:
            text += f", {self.failed} of them not readable"
        if folder is not None:
            text += f"; results in {folder}"
        typer.echo(text, err=self._json)


def _calls(entries: Sequence[Entry], threads: int | None) -> int:
    """How many pictures are worked on at a time: one by all threads where there are few, or one for each thread."""
    from multibox.prediction.engines.base import cores

    many = len(entries) >= _MANY or any(entry.video for entry in entries)
    return threads or cores() if many and all(entry.address is None for entry in entries) else 1


def _liveness(prediction: Prediction) -> str:
    """How a live source keeps up: `3 dropped, 41 ms old`; nothing for files."""
    if prediction.latency is None:
        return ""
    return f"{prediction.dropped} dropped, {1000 * prediction.latency:.0f} ms old"


def _summary(prediction: Prediction) -> str:
    """`2 person, 1 cup`, in the order in which the classes first appear (the surest first)."""
    names = [str(name) for name in prediction.objects.names]
    return ", ".join(f"{number} {name}" for name, number in Counter(names).items()) or "nothing found"


def _formats(text: str) -> list[str]:
    """The formats asked for. Raises `UsageError` for an unknown one."""
    from multibox.results.write import FORMATS

    words = [] if text == "none" else list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for word in words:
        if word not in FORMATS:
            raise UsageError(f"no output format '{word}'{did_you_mean(word, FORMATS)} (known: {', '.join(FORMATS)})")
    return words


def _words(texts: list[str] | None) -> list[str] | None:
    """Words out of repeated and comma-separated options."""
    if not texts:
        return None
    return [word.strip() for text in texts for word in text.split(",") if word.strip()]
