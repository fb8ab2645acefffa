"""One step of learning: batches -> their loss -> gradients that the optimizer may have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from multibox.network.model import SSD
from multibox.network.normalize import Normalize
from multibox.training.feed.loader import TrainBatch
from multibox.training.feed.multi_scale import draw_scale, scales_of
from multibox.training.feed.pixels import finished_pixels, network_input
from multibox.training.loop.optimizer import hold_norms, make_optimizer
from multibox.training.loop.schedule import make_schedule
from multibox.training.loop.step_guard import StepGuard, StepLosses
from multibox.training.losses.distillation import Teacher
from multibox.training.losses.multibox_loss import multibox_loss
from multibox.training.options import TrainOptions


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
        self.teacher = teacher
        self.guard = StepGuard(network, paths)
        self.losses: StepLosses | None = None
        self.scales = scales_of(network, options.multi_scale)

    def on_fit_start(self) -> None:
        """Priors of all sizes move to the device once; the network that learns is compiled, its average is not."""
        if self.options.compile:
            self.network.compile()
        self.scales = tuple(replace(scale, priors=scale.priors.to(self.device)) for scale in self.scales)

    def on_train_start(self) -> None:
        """A training that goes on in the middle of an epoch starts none."""
        self._hold_norms()
        self.guard.start()

    def on_train_epoch_start(self) -> None:
        """A new epoch, after a validation perhaps."""
        self._hold_norms()
        self.guard.learnt = False

    def on_train_batch_start(self, batch: TrainBatch, index: int) -> None:
        """The first of the batches that make a step begins it."""
        if index % self.trainer.accumulate_grad_batches == 0:
            self.guard.begin()

    def training_step(self, batch: TrainBatch, index: int) -> Float[Tensor, ""]:
        """The loss of a batch, averaged over its matched priors, with its weight among the batches of the step."""
        scale = draw_scale(self.scales, self.options.seed, self.global_step)
        predictions = self.network(scale.resized(network_input(batch, self.normalize)))
        loss = multibox_loss(
            predictions, batch.boxes, batch.labels, batch.valid, scale.priors,
            spec=scale.spec, rules=self.rules, level_sizes=scale.level_sizes,
        )  # fmt: skip
        taught = self.teacher.loss(finished_pixels(batch), predictions) if self.teacher else loss.total.new_zeros(())
        total = loss.total + taught
        self.losses = StepLosses(loss.classification.detach(), loss.localization.detach(), taught.detach())
        return total * self.guard.add(self.losses, loss.divisor, batch.records)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Lightning's last word before each step of the optimizer. Raises `Diverged`."""
        trainer = self.trainer
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        last = trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs
        self.guard.judge(optimizer, gradient_clip_val, scaler=scaler, last=last, step=self.global_step)

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimizer, and the rate's schedule by step."""
        optimizer = make_optimizer(self.network, self.options)
        schedule = LambdaLR(optimizer, make_schedule(self.options, self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _hold_norms(self) -> None:
        """Frozen norms stay in evaluation while the rest trains."""
        self.network.train()
        hold_norms(self.network, self.options.freeze_norms)
