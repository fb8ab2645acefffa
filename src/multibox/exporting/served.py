"""The network as files hold it: one module from pixels to the outputs of a head, and torch's program of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR, getLogger
from warnings import catch_warnings, simplefilter

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from multibox.exporting.job import Job
from multibox.network.inference import Inference

OUTPUTS = {"nms": ("dense_boxes", "dense_scores"), "decoded": ("boxes", "scores"), "raw": ("logits", "offsets")}
"""What the network's part of a file gives; NMS comes behind it."""

_MOST_IMAGES = 4096


class _Raw(nn.Module):
    """Pixels to logits and offsets."""

    def __init__(self, inference: Inference) -> None:
        super().__init__()
        self.inference = inference

    def forward(self, images: UInt8[Tensor, "n h w 3"]) -> tuple[Float[Tensor, "n p columns"], Float[Tensor, "n p 4"]]:
        logits, offsets = self.inference.predicted(images)
        return logits, offsets  # as a plain pair: programs know no types of ours


def served(job: Job) -> nn.Module:
    """The module from pixels to `OUTPUTS` of the job's head."""
    return _Raw(job.network).eval() if job.order.head == "raw" else job.network


def example(job: Job) -> Tensor:
    """Images of the right shape: as many as the file is for, or two where that is free (one would be a constant)."""
    spec = job.truth.model.spec
    return torch.zeros(job.order.batch or 2, spec.input.height, spec.input.width, 3, dtype=torch.uint8)


def free_batch(job: Job) -> tuple[dict[int, object]] | None:
    """Which axes of the input have any length, in torch's words; none where the number of images is fixed."""
    return None if job.order.batch else ({0: torch.export.Dim("n", min=1, max=_MOST_IMAGES)},)


def make_program(job: Job) -> torch.export.ExportedProgram:
    """The module as torch's own program."""
    with quiet(), torch.no_grad():
        return torch.export.export(served(job), (example(job),), dynamic_shapes=free_batch(job))


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters' own progress and warnings say nothing that a user can act on."""
    loggers = [getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(ERROR)
    try:
        with catch_warnings():
            simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
