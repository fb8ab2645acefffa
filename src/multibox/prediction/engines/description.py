"""What an exported file says about itself: the model, and in which form and precision the file holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from multibox.errors import ModelError
from multibox.sheet import from_json, to_json
from multibox.spec import ModelSpec

Head = Literal["nms", "decoded", "raw"]
"""`nms`: detections; `decoded`: boxes and scores of all priors; `raw`: logits and offsets of all priors."""
Precision = Literal["fp32", "fp16", "bf16", "int8"]

KEY = "multibox"
"""Under which every kind of file keeps its description."""
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Description:
    """One exported file. `level_sizes` are the priors of each map; files made before there was a choice lack them."""

    spec: ModelSpec
    metrics: Mapping[str, Any] = field(default_factory=dict)
    head: Head = "nms"
    precision: Precision = "fp32"
    level_sizes: tuple[int, ...] = ()

    def to_text(self) -> str:
        """One line of JSON; `read_description(d.to_text(), path) == d`."""
        facts = {"head": self.head, "precision": self.precision, "level_sizes": self.level_sizes}
        spec = json.loads(to_json(self.spec))
        return json.dumps({"version": _VERSION, "spec": spec, "metrics": dict(self.metrics), **facts})


def read_description(text: str, path: Path) -> Description:
    """What `Description.to_text` wrote; `path` serves messages. Raises `ModelError` where it is something else."""
    try:
        told = json.loads(text)
        spec, metrics = json.dumps(told["spec"]), dict(told.get("metrics") or {})
        head, precision = told.get("head", "nms"), told.get("precision", "fp32")
        level_sizes = tuple(int(size) for size in told.get("level_sizes", ()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{path}: its metadata '{KEY}' is not what multibox writes") from None
    if head not in get_args(Head) or precision not in get_args(Precision):
        raise ModelError(f"{path}: head '{head}' in precision '{precision}' is unknown here; update multibox")
    return Description(
        spec=from_json(spec, str(path)), metrics=metrics, head=head, precision=precision, level_sizes=level_sizes
    )
