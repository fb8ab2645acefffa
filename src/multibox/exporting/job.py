"""One export under way: what is wanted, the network that is to be written, and the truth it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from multibox.exporting.order import Order
from multibox.network.inference import Inference
from multibox.prediction.engines.description import Description
from multibox.prediction.engines.exported import ExportedEngine


@dataclass(frozen=True, kw_only=True)
class Job:
    """`truth` computes in float32 with the weights that the file stores; `network`, in the file's precision, is what is
    written. `progress` is told (done, all) of work that takes long.
    """

    order: Order
    truth: Inference
    network: Inference
    description: Description
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Writer:
    """How one kind of file is written and opened.

    `ready` raises `ExportError` where a tool is missing, before anything is computed; `write` makes the file, and those
    beside it, at the path; `open` gives it on every runtime that is here (with `dense_boxes` and `dense_scores` among
    the outputs where NMS is inside).
    """

    ready: Callable[[], None]
    write: Callable[[Job, Path], None]
    open: Callable[[Path], list[ExportedEngine]]
