"""Keeps a step whose loss or gradient is not finite from doing harm, and says so; ends what only does harm."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from multibox.errors import MultiboxError
from multibox.training.processes import group

log = logging.getLogger(__name__)

_MOST_IN_A_ROW = 10


class Diverged(MultiboxError):
    """Step after step has no finite loss or gradient."""


class StepLosses(NamedTuple):
    """The parts of one batch's loss, detached; `teacher` is 0 without one."""

    classification: Float[Tensor, ""]
    localization: Float[Tensor, ""]
    teacher: Float[Tensor, ""]


class StepGuard:
    """Watches the steps of the optimizer, each of one or several accumulated batches.

    A step that is left out leaves weights, optimizer and batch norms as they were before it. Whether it is, is read
    from the device once per step, after the backward pass: the one wait that this takes.
    """

    def __init__(self, network: nn.Module, paths: Sequence[Path]) -> None:
        """`paths` of the records, to name the images of a bad step."""
        self._network, self._paths = network, tuple(paths)
        self.skipped = False
        """Whether the last step was left out."""
        self.in_a_row = 0
        """How many of the last steps were left out, without one between."""
        self.learnt = True
        """Whether any step of the epoch was not left out."""
        self._open = False
        """Whether forward passes have begun whose step is not judged yet."""
        self._statistics: list[Tensor] = []
        self._kept: list[Tensor] = []
        self._losses: list[StepLosses] = []
        self._divisors: list[Float[Tensor, ""]] = []
        self._records: list[Int[Tensor, " n"]] = []

    def start(self) -> None:
        """Called when the network is where it learns."""
        norms = [each for each in self._network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
        self._statistics = [buffer for norm in norms for buffer in norm.buffers()]
        self._kept = [buffer.clone() for buffer in self._statistics]

    def begin(self) -> None:
        """A new step begins: what its forward passes will change is kept."""
        self._losses, self._divisors, self._records = [], [], []
        self._open = True
        if self._statistics:
            torch._foreach_copy_(self._kept, self._statistics)

    def add(self, losses: StepLosses, divisor: Float[Tensor, ""], records: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        """Notes a batch of the step, and gives its weight, with which `judge` makes one mean of all."""
        self._losses.append(losses)
        self._divisors.append(divisor)
        self._records.append(records)
        return divisor / self._divisors[0]

    def judge(
        self, optimizer: Optimizer, clip: float | None, *, scaler: GradScaler | None, last: bool, step: int
    ) -> None:
        """Called with the gradients of the step: clips them to the norm `clip`, or takes them away.

        `scaler` is that of float16, whose business it is where its scale was too high; `last`: no other step follows in
        the training. Raises `Diverged` after too many bad steps.
        """
        learning = [each for rule in optimizer.param_groups for each in rule["params"] if each.grad is not None]
        gradients = [each.grad for each in learning]
        if len(self._divisors) > 1:
            torch._foreach_mul_(gradients, len(self._divisors) * self._divisors[0] / torch.stack(self._divisors).sum())
        norm = get_total_norm(gradients)
        loss = torch.stack([part.float() for losses in self._losses for part in losses]).sum()
        self.skipped = not bool(torch.isfinite(group.mean(norm + loss)))
        if not self.skipped:
            self._open = False
            self.in_a_row, self.learnt = 0, True
            if clip:
                clip_grads_with_norm_(learning, clip, norm)
            return
        self.undo()
        for each in learning:
            each.grad = None  # without one a parameter neither moves nor decays, and no momentum is added
        finite = not group.agree(not bool(torch.isfinite(loss)))
        if not (finite and scaler and scaler.get_scale() > 1):
            self.in_a_row += 1
            self._say("gradient" if finite else "loss", step, optimizer.param_groups[0]["lr"], last=last)

    def undo(self) -> None:
        """Puts back what the forward passes of an unfinished step changed."""
        if self._open and self._statistics:
            torch._foreach_copy_(self._statistics, self._kept)
        self._open = False

    def _say(self, what: str, step: int, rate: float, *, last: bool) -> None:
        """One warning, or the end."""
        where = f"{self._largest()}; learning rate {rate:.4g}; {self._images()}"
        about = f"the {what} is not finite at step {step} ({where})"
        if self.in_a_row >= _MOST_IN_A_ROW or (last and not self.learnt):
            raise Diverged(
                f"{about}, nor at the {self.in_a_row - 1} steps before: lower --lr0, lengthen --warmup-epochs, clip "
                "the gradient with --clip-grad, or look at these images and their boxes"
            )
        log.warning("%s: this step is left out", about)

    def _largest(self) -> str:
        """`largest term: localization inf`."""
        terms = [(name, float(value)) for losses in self._losses for name, value in losses._asdict().items()]
        name, value = max(terms, key=lambda term: (term[1] != term[1], term[1]))
        return f"largest term: {name} {value:g}"

    def _images(self) -> str:
        """The first eight, and how many more."""
        names = [self._paths[int(index)].name for index in torch.cat(self._records)]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        return f"images {', '.join(names[:8])}{more}"
