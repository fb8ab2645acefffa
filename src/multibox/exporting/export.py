"""A model -> a file for another runtime, of any kind, checked against torch before it is left behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ExportError, UsageError
from multibox.exporting.accuracy import MAX_DROP, Accuracy, Measure, check_quantized
from multibox.exporting.check import check_export, sample_images
from multibox.exporting.executorch import EXECUTORCH
from multibox.exporting.job import Job, Writer
from multibox.exporting.litert import LITERT
from multibox.exporting.lower import in_precision
from multibox.exporting.onnx_writer import ONNX
from multibox.exporting.openvino_ir import OPENVINO
from multibox.exporting.order import Format, Order
from multibox.exporting.parity import Parity
from multibox.exporting.place import beside
from multibox.exporting.resize import at_size
from multibox.exporting.storage import round_weights
from multibox.exporting.tensorrt import TENSORRT
from multibox.exporting.torch_program import TORCH
from multibox.network.inference import Inference
from multibox.network.model import SSD
from multibox.prediction.engines.description import Description
from multibox.prediction.engines.exported import ExportedEngine

WRITERS: dict[Format, Writer] = {
    "onnx": ONNX,
    "openvino": OPENVINO,
    "torch": TORCH,
    "tensorrt": TENSORRT,
    "executorch": EXECUTORCH,
    "litert": LITERT,
}


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Who says whether an int8 file is good enough: `measure` gives the AP (0..1) of an engine on a data set, of which
    at most `max_drop` points may be lost; without it detections are compared and no file is refused.
    """

    measure: Measure | None = None
    max_drop: float = MAX_DROP


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written: all files, the one to open first, and how it compares with torch (int8: by its accuracy)."""

    files: tuple[Path, ...]
    agreement: Parity | Accuracy

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.stat().st_size for file in self.files)


def export_model(
    model: SSD,
    path: str | Path,
    order: Order,
    *,
    images: Sequence[NDArray[np.uint8]] | None = None,
    judge: Judge | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Writes `model` to `path` as `order` (`exporting.order.make_order`) says, and checks the file on every runtime
    that is installed here and opens it.

    `images` for the check: any size, uint8 RGB; a photograph and pieces of it where not given. Raises `UsageError` for
    a name with another ending, `ModelError` for a size that does not go through the network, and `ExportError` where a
    tool is missing, or the file cannot be written, or disagrees, or loses more accuracy than `judge` allows; then
    nothing is left that was not there before.
    """
    path = Path(path)
    if path.suffix.lower() != order.kind.ending:
        raise UsageError(f"{path}: {order.format} files end in {order.kind.ending}; name it so")
    writer = WRITERS[order.format]
    writer.ready()
    with beside(path) as place:  # first, as an export takes many seconds
        job = _job(model, order, progress)
        writer.write(job, place)
        agreement = _compare(job, writer.open(place), sample_images() if images is None else images, judge or Judge())
        if isinstance(agreement, Parity) and not agreement.agrees:
            raise ExportError(f"{path}: the exported file does not agree with torch ({agreement}); it was not written")
        names = sorted((file.name for file in place.parent.iterdir()), key=lambda name: name != path.name)
    return Exported(files=tuple(path.with_name(name) for name in names), agreement=agreement)


def _compare(
    job: Job, engines: Sequence[ExportedEngine], images: Sequence[NDArray[np.uint8]], judge: Judge
) -> Parity | Accuracy:
    """The file with torch: number by number, or by what it finds where 8 bits are not enough for that."""
    if job.order.precision != "int8":
        return check_export(job, engines, images)
    return check_quantized(job.truth, engines, images, measure=judge.measure, max_drop=judge.max_drop)


def _job(model: SSD, order: Order, progress: Callable[[int, int], None] | None) -> Job:
    """The network in the order's size and precision, on the CPU, and what the file is to say of itself."""
    model = round_weights(model, order.stored).eval().cpu()
    model = at_size(model, order.size) if order.size else model
    truth = Inference(model).eval()
    description = Description(
        spec=model.spec,
        metrics=order.metrics,
        head=order.head,
        precision=order.precision,
        level_sizes=model.level_sizes,
    )
    network = truth if order.computed == "bf16" and order.format == "openvino" else in_precision(truth, order.computed)
    return Job(order=order, truth=truth, network=network, description=description, progress=progress)
