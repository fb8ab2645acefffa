"""Which kinds of files there are, what each can hold, and one export as it is wanted. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from multibox.errors import UsageError
from multibox.prediction.engines.description import Head, Precision

Format = Literal["onnx", "openvino", "torch", "tensorrt", "executorch", "litert"]
Storage = Literal["fp32", "fp16", "int8"]
"""How weights are stored that are computed with in fp32."""
Batch = int | Literal["dynamic"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of file: how its name ends, which heads (the default first) and precisions it can hold, and whether it
    takes any number of images.
    """

    ending: str
    heads: tuple[Head, ...]
    precisions: tuple[Precision, ...]
    any_batch: bool = True


KINDS: Mapping[Format, Kind] = {
    "onnx": Kind(ending=".onnx", heads=("nms", "decoded", "raw"), precisions=("fp32", "fp16", "int8")),
    "openvino": Kind(ending=".xml", heads=("nms", "decoded", "raw"), precisions=("fp32", "fp16", "bf16", "int8")),
    "torch": Kind(ending=".pt2", heads=("decoded", "raw"), precisions=("fp32", "fp16", "bf16")),
    "tensorrt": Kind(ending=".plan", heads=("decoded", "raw"), precisions=("fp32", "fp16"), any_batch=False),
    "executorch": Kind(ending=".pte", heads=("decoded", "raw"), precisions=("fp32",), any_batch=False),
    "litert": Kind(ending=".tflite", heads=("decoded", "raw"), precisions=("fp32",), any_batch=False),
}


@dataclass(frozen=True, kw_only=True)
class Order:
    """One export as it is wanted, of parts that go together; made by `make_order`.

    `batch` None is any number of images; `size` (height, width) None the model's own; `calibration` are the images (a
    folder or a data set) that int8 is fitted to.
    """

    format: Format = "onnx"
    head: Head = "nms"
    precision: Precision = "fp32"
    storage: Storage = "fp32"
    batch: int | None = None
    size: tuple[int, int] | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    calibration: Path | None = None

    @property
    def kind(self) -> Kind:
        """The kind of file."""
        return KINDS[self.format]

    @property
    def stored(self) -> Storage:
        """How the weights are stored: OpenVINO's fp16 files hold them so, and devices choose their arithmetic."""
        return "fp16" if (self.format, self.precision) == ("openvino", "fp16") else self.storage

    @property
    def computed(self) -> Precision:
        """In which precision the network computes on the CPU."""
        return "fp32" if self.format == "openvino" and self.precision == "fp16" else self.precision


def make_order(
    format: Format = "onnx",
    *,
    head: Head | None = None,
    precision: Precision = "fp32",
    storage: Storage = "fp32",
    batch: Batch | None = None,
    size: tuple[int, int] | None = None,
    metrics: Mapping[str, Any] | None = None,
    calibration: Path | None = None,
) -> Order:
    """What is not said is chosen by the format: its first head, any number of images where it takes that, else one.

    Raises `UsageError` for parts that do not go together, naming what does.
    """
    kind = KINDS[format]
    head = head or kind.heads[0]
    _check_parts(format, kind, head, precision, storage)
    if precision == "int8" and calibration is None:
        raise UsageError("precision int8 is fitted to images; name a folder or a data set with --calibrate")
    if precision != "int8" and calibration is not None:
        raise UsageError(f"--calibrate is for --precision int8, not {precision}")
    if batch == "dynamic" and not kind.any_batch:
        raise UsageError(f"{format} files take a fixed number of images; give --batch a number, or leave it out")
    if isinstance(batch, int) and batch < 1:
        raise UsageError(f"batch is {batch}; it must be 1 or more")
    if size is not None and min(size) < 1:
        raise UsageError(f"size is {size[0]}x{size[1]}; both sides are 1 or more")
    images = batch if isinstance(batch, int) else None if kind.any_batch else 1
    return Order(
        format=format,
        head=head,
        precision=precision,
        storage=storage,
        batch=images,
        size=size,
        metrics=dict(metrics or {}),
        calibration=calibration,
    )


def _check_parts(format: Format, kind: Kind, head: Head, precision: Precision, storage: Storage) -> None:
    """Raises `UsageError` for a head, precision or storage of weights that the format cannot have."""
    if head not in kind.heads:
        raise UsageError(f"{format} files have no head '{head}'; they have {_either(kind.heads)}")
    if precision not in kind.precisions:
        others = [name for name, other in KINDS.items() if precision in other.precisions]
        hint = f"; {precision} is what {_either(others)} can have" if others else ""
        raise UsageError(f"{format} files have no precision '{precision}', only {_either(kind.precisions)}{hint}")
    if precision == "int8" and head == "raw":
        raise UsageError("what int8 costs is measured by detections; use --head nms or --head decoded")
    if storage != "fp32" and (format != "onnx" or precision != "fp32"):
        way = "--precision fp16" if format == "openvino" else "--format onnx --precision fp32"
        raise UsageError(f"--weights {storage} is how ONNX files of precision fp32 store weights; use {way}")


def _either(words: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
