"""The run folder: where everything about one training lies, and nothing is ever written by halves."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch
import yaml

from multibox.errors import MultiboxError, UsageError
from multibox.installed import version_of
from multibox.results.files import write_text
from multibox.training.kept.checkpoints import previous_of
from multibox.training.options import TrainOptions
from multibox.training.options_file import to_table

LAST_CHECKPOINT = "weights/last.ckpt"
"""Everything needed to go on: weights, averages, optimizer, schedule, epoch."""

_PACKAGES = ("multibox", "torch", "torchvision", "timm", "lightning", "numpy", "opencv-python-headless")


def make_run_folder(options: TrainOptions) -> Path:
    """The folder of `free_folder`, made. Raises `MultiboxError`."""
    folder = free_folder(options)
    try:
        (folder / "weights").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MultiboxError(f"{folder}: the run folder cannot be made ({error.strerror or error})") from None
    return folder


def free_folder(options: TrainOptions) -> Path:
    """project/name, or name2, name3, ... where that is taken and `exist_ok` is not set."""
    wanted = Path(options.project) / options.name
    folder, number = wanted, 1
    while folder.exists() and not options.exist_ok:
        number += 1
        folder = wanted.with_name(f"{wanted.name}{number}")
    return folder


def find_resumed(run: str | Path) -> Path:
    """The folder of a run that can go on. Raises `UsageError` where it left no checkpoint."""
    folder = Path(run)
    if folder.name == "last.ckpt":
        folder = folder.parent.parent
    last = folder / LAST_CHECKPOINT
    if not last.is_file() and not previous_of(last).is_file():
        raise UsageError(f"{folder}: nothing to resume; {LAST_CHECKPOINT} is written after the first epoch of a run")
    return folder


def write_arguments(folder: Path, options: TrainOptions) -> None:
    """`args.yaml`, the resolved options, and `env.json`, with what and on what it ran."""
    write_text(folder / "args.yaml", yaml.safe_dump(to_table(options), sort_keys=False, allow_unicode=True))
    write_text(folder / "env.json", json.dumps(_environment(), indent=2) + "\n")


def _environment() -> dict[str, Any]:
    """Versions, machine, command."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: version_of(name) for name in _PACKAGES},
    }
