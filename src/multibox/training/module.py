"""One step of learning: a batch -> the loss, its parts logged, its finiteness watched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from multibox.errors import MultiboxError
from multibox.network.model import SSD
from multibox.network.normalize import Normalize
from multibox.training.distillation import Teacher
from multibox.training.loader import TrainBatch
from multibox.training.loss import multibox_loss
from multibox.training.multi_scale import draw_scale, scales_of
from multibox.training.optimizer import hold_norms, make_optimizer
from multibox.training.options import TrainOptions
from multibox.training.pixels import finished_pixels, network_input
from multibox.training.schedule import make_schedule


class StepLosses(NamedTuple):
    """The parts of one step's loss, detached; `teacher` is 0 without one."""

    classification: Float[Tensor, ""]
    localization: Float[Tensor, ""]
    teacher: Float[Tensor, ""]


class TrainingModule(LightningModule):  # type: ignore[misc]
    """The network with its loss, optimizer and schedule; it knows nothing of files, pictures or metrics."""

    def __init__(
        self, network: SSD, options: TrainOptions, steps: int, paths: Sequence[Path], teacher: Teacher | None = None
    ) -> None:
        """`options` are resolved; `steps` per epoch; `paths` of the records, to name the images of a bad batch."""
        super().__init__()
        self.network = network
        self.normalize = Normalize(network.spec.input)
        self.options = options
        self.rules = options.rules(network.spec)
        self.steps = steps
        self.paths = tuple(paths)
        self.teacher = teacher
        self.losses: StepLosses | None = None
        self.scales = scales_of(network, options.multi_scale)

    def on_fit_start(self) -> None:
        """Priors of all sizes move to the device once."""
        self.scales = tuple(replace(scale, priors=scale.priors.to(self.device)) for scale in self.scales)

    def on_train_epoch_start(self) -> None:
        """Frozen norms stay in evaluation while the rest trains."""
        self.network.train()
        hold_norms(self.network, self.options.freeze_norms)

    def training_step(self, batch: TrainBatch, index: int) -> Float[Tensor, ""]:
        """The loss of a batch, averaged over its matched priors. Raises `MultiboxError` where it is not finite."""
        scale = draw_scale(self.scales, self.options.seed, self.global_step)
        predictions = self.network(scale.resized(network_input(batch, self.normalize)))
        loss = multibox_loss(
            predictions, batch.boxes, batch.labels, batch.valid, scale.priors,
            spec=scale.spec, rules=self.rules, level_sizes=scale.level_sizes,
        )  # fmt: skip
        taught = self.teacher.loss(finished_pixels(batch), predictions) if self.teacher else loss.total.new_zeros(())
        total = loss.total + taught
        self.losses = StepLosses(loss.classification.detach(), loss.localization.detach(), taught.detach())
        if not torch.isfinite(total):
            raise MultiboxError(self._explain(batch))
        return total

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimizer, and the rate's schedule by step."""
        optimizer = make_optimizer(self.network, self.options)
        schedule = LambdaLR(optimizer, make_schedule(self.options, self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _explain(self, batch: TrainBatch) -> str:
        """Which term is not finite, at which rate, on which images."""
        assert self.losses is not None
        terms = [f"{name} {float(value):g}" for name, value in self.losses._asdict().items()]
        names = [self.paths[int(record)].name for record in batch.records]
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        rate = self.optimizers().param_groups[0]["lr"]
        return (
            f"the loss is not finite at step {self.global_step} ({', '.join(terms)}; learning rate {rate:.4g}; images "
            f"{shown}): lower --lr0, lengthen --warmup-epochs, or clip the gradient with --clip-grad"
        )
