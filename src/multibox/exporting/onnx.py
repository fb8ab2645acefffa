"""A model -> one self-describing ONNX file with normalisation, decoding and NMS inside, checked against torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multibox.exporting.export import export_model
from multibox.exporting.order import Storage, make_order
from multibox.exporting.parity import Parity
from multibox.network.model import SSD


def export_onnx(
    model: SSD,
    path: str | Path,
    *,
    metrics: Mapping[str, Any] | None = None,
    weights: Storage = "fp32",
    batch: int | None = None,
    images: Sequence[np.ndarray] | None = None,
) -> Parity:
    """Writes `model` to `path` and returns how well the file agrees with torch, measured on real images.

    The file takes `images` uint8 [n, h, w, 3] RGB at network size and gives `boxes` float32 [n, d, 4] as fractions of
    the input, `scores` float32 [n, d] descending (0: no detection) and `labels` int64 [n, d] (-1: none). n is free
    unless `batch` fixes it. `weights` is how convolution weights are stored; torch is compared with weights rounded in
    the same way. `images` for the check: any size, uint8 RGB; a photograph and pieces of it where not given.

    Raises `ExportError` where the file cannot be written or disagrees; then nothing is left at `path` that was not
    there before. Other kinds of files, heads and precisions: `exporting.export.export_model`.
    """
    order = make_order(storage=weights, batch="dynamic" if batch is None else batch, metrics=metrics)
    agreement = export_model(model, path, order, images=images).agreement
    assert isinstance(agreement, Parity)  # int8 arithmetic alone is judged otherwise
    return agreement
