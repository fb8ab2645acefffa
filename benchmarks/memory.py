"""Memory while predicting many files: the peak, and whether it grows.

Usage: python benchmarks/memory.py [--model FILE] [--engine auto] [--threads N] [--images 10000] [--json FILE]
Without a model SSDLite320 with random weights (see `ready.py`). The measured process is a fresh one that never imports
torch: it runs `Detector.stream` over the same JPEG files again and again (pieces of a photo in eight sizes) and reads
its resident memory as it goes. The slope is that of a line through the readings but the first, per 1,000 images. Exit
code 1 where the peak is above 500 MB or the slope above 1 MB per 1,000 images.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np

PEAK, SLOPE = 500.0, 1.0
"""Megabytes at most, and megabytes per 1,000 images."""


def resident() -> float:
    """Megabytes that this process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def watch(
    model: str, engine: str, threads: int | None, paths: list[Path], images: int, every: int
) -> Iterator[dict[str, float]]:
    """A reading after every `every` images."""
    from multibox.evaluation.probe import peak_megabytes
    from multibox.prediction.detector import load

    detector = load(model, engine, threads=threads)  # type: ignore[arg-type]
    found, start = 0, time.perf_counter()
    for number, one in enumerate(detector.stream(islice(cycle(paths), images), keep_image=False), 1):
        found += len(one.objects.scores)
        if number % every == 0:
            rate = number / (time.perf_counter() - start)
            yield {
                "images": number,
                "resident": resident(),
                "peak": peak_megabytes() or 0.0,
                "rate": rate,
                "found": found,
            }
    assert "torch" not in sys.modules


def child(args: argparse.Namespace) -> None:
    """The measured process: a line of JSON per reading."""
    paths = sorted(Path(args.child).glob("*.jpg"))
    for reading in watch(args.model, args.engine, args.threads, paths, args.images, args.every):
        print(json.dumps(reading), flush=True)


def main() -> None:
    """Prints the readings, the peak and the slope."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=1000)
    parser.add_argument("--files", type=int, default=200, help="how many different files")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raise SystemExit(judge(readings(args, folder), args.json))


def readings(args: argparse.Namespace, folder: Path) -> list[dict[str, float]]:
    """The readings of a fresh process."""
    from ready import SSDLITE, open_network, photo_bytes, photo_folder

    photo_folder(folder / "photos", args.files)
    model = args.model or str(open_network(SSDLITE, folder, photo_bytes()).exported["fp32"])
    words = ["--model", model, "--engine", args.engine, "--images", str(args.images), "--every", str(args.every)]
    words += ["--threads", str(args.threads)] if args.threads else []
    command = [sys.executable, __file__, "--child", str(folder / "photos"), *words]
    found = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found.append(json.loads(line))
            print(
                "{images:6d} images  {resident:6.1f} MB resident  {peak:6.1f} MB peak  {rate:6.1f} img/s".format(
                    **found[-1]
                ),
                flush=True,
            )
    if process.returncode or len(found) < 3:
        raise SystemExit(f"the measured process ended with code {process.returncode} after {len(found)} readings")
    return found


def judge(found: list[dict[str, float]], path: Path | None) -> int:
    """Prints peak and slope; 1 where either is too large."""
    later = found[1:]
    slope = float(np.polyfit([one["images"] / 1000 for one in later], [one["resident"] for one in later], 1)[0])
    peak = found[-1]["peak"]
    print(f"peak {peak:.0f} MB (limit {PEAK:.0f}), {slope:+.2f} MB per 1,000 images (limit {SLOPE:g})")
    if path is not None:
        path.write_text(json.dumps({"readings": found, "peak": peak, "slope": slope}, indent=2) + "\n")
    return int(peak > PEAK or slope > SLOPE)


if __name__ == "__main__":
    main()
