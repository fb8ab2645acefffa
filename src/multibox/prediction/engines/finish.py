"""What a file gives -> detections, by what the file says its head is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from multibox.errors import ModelError
from multibox.prediction.engines.base import Outputs, RawDetections, unpack
from multibox.prediction.engines.description import Description
from multibox.prediction.engines.host_nms import find


def finisher(description: Description, path: Path) -> Callable[[Outputs], list[RawDetections]]:
    """The function that makes detections of a file's outputs; for raw ones it raises `ModelError` when it is called."""

    def decoded(outputs: Outputs) -> list[RawDetections]:
        boxes, scores = (np.asarray(outputs[name], np.float32) for name in ("boxes", "scores"))
        return find(boxes, scores, description.spec, description.level_sizes)

    def raw(_: Outputs) -> list[RawDetections]:
        raise ModelError(
            f"{path}: holds logits and offsets (--head raw), for code of your own; "
            "export with --head nms or --head decoded to detect with it"
        )

    return {"nms": unpack, "decoded": decoded, "raw": raw}[description.head]
