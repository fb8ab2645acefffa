"""What an engine is: a batch of images at network size -> detections of each, as fractions of the input."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from multibox.errors import UsageError
from multibox.prediction.engines.description import Precision
from multibox.spec import ModelSpec


class RawDetections(NamedTuple):
    """Detections of one image, by descending score: boxes float32 [k, 4] x1, y1, x2, y2 as fractions of the network's
    input, scores float32 [k], labels int64 [k] (index into the spec's names).
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a model is to be run: CPU `threads` (none: all), shared by so many `calls` at a time, and the `precision` of
    the network's arithmetic (none: an exported file's own, fp32 for weights).
    """

    threads: int | None = None
    precision: Precision | None = None
    calls: int = 1

    def __post_init__(self) -> None:
        """Raises `UsageError` for numbers below 1."""
        for name in ("threads", "calls"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; it must be 1 or more")


@runtime_checkable
class Engine(Protocol):
    """A model on a runtime. `run` may be called from several threads at once."""

    @property
    def spec(self) -> ModelSpec:
        """What the model is."""

    @property
    def name(self) -> str:
        """`torch`, `openvino`, `onnxruntime`, `executorch`, `litert` or `tensorrt`."""

    @property
    def calls(self) -> int:
        """How many calls at a time it was opened for; more wait for each other."""

    def run(self, batch: NDArray[np.uint8]) -> list[RawDetections]:
        """Detections of uint8 images [n, h, w, 3], RGB, at the size that `spec.input` tells; n may be 0."""


def check_batch(batch: NDArray[np.uint8], spec: ModelSpec) -> None:
    """Raises `UsageError` for a batch that is not uint8 [n, h, w, 3] at network size."""
    size = (spec.input.height, spec.input.width, 3)
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != size:
        raise UsageError(
            f"{spec.name} takes uint8 images [n, {size[0]}, {size[1]}, 3], not {batch.dtype} {list(batch.shape)}"
        )


Outputs = Mapping[str, NDArray[np.generic]]
"""What an exported file gives, by name."""


def unpack(outputs: Outputs) -> list[RawDetections]:
    """The padded outputs `boxes` [n, d, 4], `scores` [n, d], `labels` [n, d] of an exported file, without padding.

    What is returned is copied, since runtimes reuse the memory of their outputs.
    """
    boxes, scores = (np.asarray(outputs[name]) for name in ("boxes", "scores"))
    labels = np.asarray(outputs["labels"], np.int64)
    found = (labels >= 0).sum(axis=1)
    return [
        RawDetections(boxes[i, :k].astype(np.float32), scores[i, :k].astype(np.float32), labels[i, :k].astype(np.int64))
        for i, k in enumerate(found.tolist())
    ]


def short_reason(error: Exception) -> str:
    """The last line of a runtime's message, where it says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
