"""A model -> a LiteRT file (.tflite) for phones and boards, converted by litert-torch."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from multibox.errors import ExportError
from multibox.exporting.job import Job, Writer
from multibox.exporting.runtimes import need
from multibox.exporting.served import example, quiet, served
from multibox.prediction.engines.base import short_reason
from multibox.prediction.engines.exported import ExportedEngine
from multibox.prediction.engines.litert_engine import LiteRtEngine
from multibox.prediction.engines.litert_file import append_description, read_litert


def _ready() -> None:
    for package in ("litert_torch", "ai_edge_litert"):
        need(package, "litert", "pip install 'multibox[litert]'")


def _write(job: Job, path: Path) -> None:
    import litert_torch

    try:
        with quiet():
            litert_torch.convert(_in_plain_order(served(job)), (example(job),)).export(str(path))
    except Exception as error:  # the compiler's stages raise whatever they like
        name = job.description.spec.name
        raise ExportError(f"{name}: litert-torch cannot convert it ({short_reason(error)})") from None
    append_description(path, job.description)


def _in_plain_order(network: nn.Module) -> nn.Module:
    """A copy whose weights lie in memory as torch makes them: litert-torch (0.10) converts weights that lie channels
    last, as those of every network that ran on our torch engine do, to other values.
    """
    return copy.deepcopy(network).to(memory_format=torch.contiguous_format)


def _open(path: Path) -> list[ExportedEngine]:
    return [LiteRtEngine(read_litert(path))]


LITERT = Writer(ready=_ready, write=_write, open=_open)
