"""How long `multibox --help` takes, and how much disk an environment with the core install needs.

    python benchmarks/startup.py [--environment /path/of/a/venv] [--runs 15]

The environment is one into which nothing but `pip install .` went; without it only the time is measured.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HELP_SECONDS, CORE_MEGABYTES = 0.5, 850
"""What must not be exceeded."""


def main() -> int:
    """Prints both figures beside their limits; 1 where one is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    python = options.environment / "bin" / "python" if options.environment else Path(sys.executable)
    seconds = help_seconds(python, options.runs)
    print(f"multibox --help: median {seconds:.3f} s of {options.runs} runs (limit {HELP_SECONDS} s)")
    loaded = imports_torch(python)
    print(f"torch imported by multibox --help: {'yes' if loaded else 'no'}")
    megabytes = 0.0
    if options.environment:
        megabytes = disk_megabytes(options.environment)
        print(f"core install: {megabytes:.0f} MB on disk (limit {CORE_MEGABYTES} MB)")
    return int(seconds > HELP_SECONDS or loaded or megabytes > CORE_MEGABYTES)


def help_seconds(python: Path, runs: int) -> float:
    """The median wall time of a fresh process, after one that fills the caches."""
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run([python, "-m", "multibox", "--help"], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def imports_torch(python: Path) -> bool:
    """Whether the help loads torch."""
    command = [python, "-X", "importtime", "-m", "multibox", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return any(line.rpartition("|")[2].strip().partition(".")[0] == "torch" for line in done.stderr.splitlines())


def disk_megabytes(environment: Path) -> float:
    """The blocks that all files of the environment take, each file once (pip, compiled bytecode included)."""
    blocks = {}
    for folder, _, names in os.walk(environment):
        for name in names:
            status = (Path(folder) / name).lstat()
            blocks[status.st_dev, status.st_ino] = status.st_blocks
    return sum(blocks.values()) * 512 / 1e6


if __name__ == "__main__":
    sys.exit(main())
