"""A model -> an ExecuTorch program (.pte) for phones and boards, its convolutions by XNNPACK."""

from __future__ import annotations

from pathlib import Path

from multibox.errors import ExportError
from multibox.exporting.job import Job, Probe, Writer
from multibox.exporting.runtimes import need
from multibox.exporting.served import make_program, quiet
from multibox.prediction.engines.base import short_reason
from multibox.prediction.engines.description import KEY
from multibox.prediction.engines.executorch_engine import ExecuTorchEngine


def _ready() -> None:
    need("executorch", "executorch", "pip install 'multibox[executorch]'")


def _write(job: Job, path: Path) -> None:
    """The description is a method of the program that returns a text, which is how the format holds constants."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = make_program(job)
    try:
        with quiet():
            lowered = to_edge_transform_and_lower(
                program,
                partitioner=[XnnpackPartitioner()],
                constant_methods={KEY: job.description.to_text()},
            ).to_executorch()
    except Exception as error:  # the compiler's stages raise whatever they like
        name = job.description.spec.name
        raise ExportError(f"{name}: ExecuTorch cannot compile it ({short_reason(error)})") from None
    path.write_bytes(lowered.buffer)


def _open(path: Path) -> list[Probe]:
    return [ExecuTorchEngine(path)]


EXECUTORCH = Writer(ready=_ready, write=_write, open=_open)
