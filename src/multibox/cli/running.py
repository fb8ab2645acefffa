"""The options about what runs the network, which `predict`, `predict-many` and `evaluate` share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

EngineOption = Annotated[
    Literal["auto", "torch", "openvino", "onnxruntime", "executorch", "litert", "tensorrt"],
    typer.Option(help="What runs the network; auto: what fits the file and is fastest here."),
]
PrecisionOption = Annotated[
    Literal["fp32", "bf16", "fp16"] | None,
    typer.Option(help="The network's arithmetic; none: as the file was exported, fp32 for weights."),
]
