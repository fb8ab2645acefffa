"""A model -> torch's own program (.pt2, `torch.export`), which torch runs without the code of the network."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import torch

from multibox.exporting.job import Job, Writer
from multibox.exporting.served import make_program, quiet
from multibox.prediction.engines.description import KEY
from multibox.prediction.engines.exported import ExportedEngine
from multibox.prediction.engines.program_engine import ProgramEngine
from multibox.prediction.engines.program_file import read_program


def _ready() -> None:
    """Torch is there where anything is exported."""


def _write(job: Job, path: Path) -> None:
    program = make_program(job)
    program.example_inputs = None  # pixels of nothing, as large as a photo
    content = BytesIO()  # torch's own writing says of a full disk nothing that a person understands
    with quiet():
        torch.export.save(program, content, extra_files={KEY: job.description.to_text()})
    path.write_bytes(content.getbuffer())


def _open(path: Path) -> list[ExportedEngine]:
    return [ProgramEngine(read_program(path))]


TORCH = Writer(ready=_ready, write=_write, open=_open)
