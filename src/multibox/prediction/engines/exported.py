"""What engines of exported files share: a batch through the file, as many images as it takes, to detections."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from multibox.prediction.engines.base import Outputs, RawDetections, check_batch
from multibox.prediction.engines.description import Description
from multibox.prediction.engines.finish import finisher
from multibox.spec import ModelSpec

PROGRAM_OUTPUTS = {"decoded": ("boxes", "scores"), "raw": ("logits", "offsets")}
"""The names of the two outputs in the kinds of files that do not keep them."""


class ExportedEngine(ABC):
    """An exported file on a runtime, which opens it and computes its outputs."""

    name: ClassVar[str]
    batch: int | None
    """How many images the file takes; any number where None."""

    def __init__(self, description: Description, path: Path, calls: int = 1) -> None:
        """`description` of the file at `path`; `calls` at a time that it was opened for."""
        self.description = description
        self.spec: ModelSpec = description.spec
        self.calls = calls
        self._finish = finisher(description, path)

    def run(self, batch: NDArray[np.uint8]) -> list[RawDetections]:
        """Detections of uint8 images [n, h, w, 3]; see `base.Engine`.

        Where the file takes a fixed number of images, that many at once, black ones behind.
        """
        check_batch(batch, self.spec)
        fixed = self._at_once()
        step = fixed or max(len(batch), 1)
        found: list[RawDetections] = []
        for start in range(0, len(batch), step):
            part = batch[start : start + step]
            missing = step - len(part) if fixed else 0
            if missing:
                part = np.concatenate([part, np.zeros((missing, *part.shape[1:]), np.uint8)])
            found += self._finish(self.infer(part))[: step - missing]
        return found

    @abstractmethod
    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """The file's outputs by name, for as many images as it takes; valid until this thread's next call."""

    def _at_once(self) -> int | None:
        """How many images a call of `infer` gets; all of them where None."""
        return self.batch
