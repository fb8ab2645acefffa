"""A model -> an ExecuTorch program (.pte) for phones and boards, its convolutions by XNNPACK."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from multibox.errors import ExportError
from multibox.exporting.job import Job, Writer
from multibox.exporting.runtimes import need
from multibox.exporting.served import make_program, quiet
from multibox.network.inference import Inference
from multibox.network.shared_head import Tower
from multibox.prediction.engines.base import short_reason
from multibox.prediction.engines.description import KEY
from multibox.prediction.engines.executorch_engine import ExecuTorchEngine
from multibox.prediction.engines.exported import ExportedEngine


def _ready() -> None:
    need("executorch", "executorch", "pip install 'multibox[executorch]'")


def _write(job: Job, path: Path) -> None:
    """The description is a method of the program that returns a text, which is how the format holds constants."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = make_program(replace(job, network=_without_shared_norms(job.network)))
    try:
        with quiet():
            lowered = to_edge_transform_and_lower(
                program,
                partitioner=[XnnpackPartitioner()],
                constant_methods={KEY: job.description.to_text()},
            ).to_executorch()
    except Exception as error:  # the compiler's stages raise whatever they like
        name = job.description.spec.name
        raise ExportError(f"{name}: ExecuTorch cannot compile it ({short_reason(error)})") from None
    path.write_bytes(lowered.buffer)


class _Affine(nn.Module):
    """What a batch norm does in inference, as a product and a sum."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
        self.register_buffer("scale", scale[:, None, None])
        self.register_buffer("shift", (norm.bias.detach() - norm.running_mean * scale)[:, None, None])

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return x * self.scale + self.shift


def _without_shared_norms(network: Inference) -> Inference:
    """A copy in which several batch norms behind one convolution are products and sums.

    XNNPACK's partitioner (ExecuTorch 1.5) fuses each norm with the convolution before it, and calls the result by the
    name of that convolution's weights: of the norms of several levels one would hold for all.
    """
    network = copy.deepcopy(network)
    for tower in [part for part in network.modules() if isinstance(part, Tower)]:
        norms = {name: part for name, part in tower.named_modules() if isinstance(part, nn.BatchNorm2d)}
        for name, norm in norms.items():
            tower.set_submodule(name, _Affine(norm))
    return network


def _open(path: Path) -> list[ExportedEngine]:
    return [ExecuTorchEngine(path)]


EXECUTORCH = Writer(ready=_ready, write=_write, open=_open)
