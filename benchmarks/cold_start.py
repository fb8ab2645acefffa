"""How long a fresh `multibox predict` takes to its first line of results, and where that time goes.

Usage: python benchmarks/cold_start.py [--runs 10] [--engines openvino onnxruntime] [--environment VENV] [--json FILE]
The detector in the box on the photograph that is installed anyway; files are in the system's cache after one run that
does not count, compiled bytecode too. The clock runs from the start of the process to the first whole line on its
stdout. Engines and ways take turns: `lines` is `--json --no-save --format none`, `pictures` the command without
options, which also writes a picture and predictions.json. The last part is from `python -X importtime`: packages by the
time that their own modules take. Exit code 1 where even the fastest way exceeds the limit.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

LIMIT = 1.5
"""Seconds to the first detection."""
WAYS = {"lines": ("--json", "--no-save", "--format", "none"), "pictures": ()}
_SHOWN = 12


def first_line(python: Path, words: Sequence[str], folder: Path) -> float:
    """Seconds from the start of a process to the first line of its stdout. Raises where it prints none."""
    start = time.perf_counter()
    command = [str(python), "-m", "multibox", *words]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdout=pipe, stderr=nothing, cwd=folder, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
        process.stdout.read()
    if process.returncode or not line.strip():
        raise SystemExit(
            f"multibox {' '.join(words)} ended with code {process.returncode} and printed '{line.strip()}'"
        )
    return seconds


def imports(python: Path, words: Sequence[str], folder: Path) -> dict[str, float]:
    """Seconds that the modules of each top-level package took to import by themselves, the longest first."""
    command = [str(python), "-X", "importtime", "-m", "multibox", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True)
    taken: dict[str, float] = {}
    for own, name in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", done.stderr, flags=re.MULTILINE):
        package = name.partition(".")[0]
        taken[package] = taken.get(package, 0.0) + int(own) / 1e6
    return dict(sorted(taken.items(), key=lambda item: -item[1]))


def main() -> None:
    """Prints the seconds of every engine and way, and the packages that take longest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--engines", nargs="+", default=["openvino", "onnxruntime"])
    parser.add_argument("--environment", type=Path, help="a venv with multibox, instead of this one")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    python = args.environment / "bin" / "python" if args.environment else Path(sys.executable)
    sides = {
        f"{engine} {way}": ("predict", "--engine", engine, *words)
        for engine in args.engines
        for way, words in WAYS.items()
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(args.runs + 1):
            for side, words in sides.items():
                times[side].append(first_line(python, words, folder))
        times = {side: values[1:] for side, values in times.items()}
        slow = imports(python, next(iter(sides.values())), folder)
    for side, values in times.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{side:<22} median {middle:.2f} s ({low:.2f}-{high:.2f}, {len(values)} runs; limit {LIMIT} s)")
    print(f"imports of '{next(iter(sides))}': {sum(slow.values()):.2f} s (the clock of importtime slows them down)")
    for package, seconds in list(slow.items())[:_SHOWN]:
        print(f"  {package:<20} {seconds:.3f} s")
    if args.json:
        args.json.write_text(json.dumps({"seconds": times, "imports": slow}, indent=2) + "\n")
    best = min(statistics.median(values) for values in times.values())
    raise SystemExit(int(best > LIMIT))


if __name__ == "__main__":
    main()
