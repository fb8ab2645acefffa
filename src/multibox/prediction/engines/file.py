"""An exported file that was read: where it was, its content, and what it says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from multibox.errors import ModelError
from multibox.prediction.engines.description import Description, Head, Precision
from multibox.spec import ModelSpec


class ModelFile(NamedTuple):
    """`data` is the file's content, `weights` that of a second file beside it (OpenVINO's .bin), where there is one.

    `watched` are values inside the model that OpenVINO is to give too.
    """

    path: Path
    data: bytes
    description: Description
    weights: bytes = b""
    watched: tuple[str, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        """What the model is."""
        return self.description.spec

    def computing_in(self, precision: Precision, engine: str) -> ModelFile:
        """The same file to be run in another precision: OpenVINO takes bf16 instead of fp32, or fp32 instead of bf16.

        Raises `ModelError` where that is not so.
        """
        if precision == self.precision:
            return self
        if engine != "openvino" or {precision, self.precision} != {"fp32", "bf16"}:
            way = "take engine openvino" if precision == "bf16" else f"export it with --precision {precision}"
            raise ModelError(f"{self.path}: '{engine}' runs this file in {self.precision}, not in {precision}; {way}")
        return self._replace(description=replace(self.description, precision=precision))

    @property
    def metrics(self) -> Mapping[str, Any]:
        """How good it was measured to be."""
        return self.description.metrics

    @property
    def head(self) -> Head:
        """What the file gives."""
        return self.description.head

    @property
    def precision(self) -> Precision:
        """In which precision its network computes."""
        return self.description.precision


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises `ModelError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from None
