"""A trained network as teacher: the student also learns its scores and boxes."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from multibox.errors import ModelError, did_you_mean
from multibox.network.model import SSD, Predictions
from multibox.network.normalize import Normalize
from multibox.training.processes import group


class Teacher:
    """A network in evaluation, what its opinion weighs, and which of its columns are the student's."""

    def __init__(self, network: SSD, student: SSD, weight: float) -> None:
        """`weight` multiplies the loss. Raises `ModelError` where priors or classes of the two differ."""
        _check(network, student)
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.normalize = Normalize(network.spec.input)
        self.weight = weight
        self.columns = torch.tensor(_columns(network, student))
        self.first = int(student.spec.background)

    def loss(self, images: UInt8[Tensor, "n h w 3"], student: Predictions) -> Float[Tensor, ""]:
        """Weighted loss of the student's predictions on the same augmented images; 0 in perfect agreement.

        Scores: cross entropy with the teacher's probabilities less its entropy, summed over all priors. Offsets: smooth
        L1, each prior weighted by the teacher's highest foreground probability. Both are divided by the sum of these
        probabilities, and so are per object-like prior, as the MultiBox loss is.
        """
        logits, offsets = self._ask(images)
        if self.network.spec.activation == "sigmoid":
            known = student.logits[..., self.first :].float()
            wanted = logits.sigmoid()
            surety = wanted.amax(dim=-1)
            scores = _cross_entropy(known, wanted) - _cross_entropy(logits, wanted)
        else:
            target = logits.log_softmax(dim=-1)
            surety = 1 - target[..., 0].exp()
            learnt = student.logits.float().log_softmax(dim=-1)
            scores = functional.kl_div(learnt, target, reduction="sum", log_target=True)
        boxes = functional.smooth_l1_loss(student.offsets.float(), offsets, reduction="none").sum(dim=-1)
        total = group.mean(surety.sum()).clamp(min=1 / group.world())
        return self.weight * (scores + (boxes * surety).sum()) / total

    @torch.no_grad()
    def _ask(self, images: UInt8[Tensor, "n h w 3"]) -> tuple[Float[Tensor, "n p c"], Float[Tensor, "n p 4"]]:
        """The teacher's logits in the student's columns (the foreground's alone where it is a sigmoid), and offsets."""
        if self.columns.device != images.device:
            self.network.to(images.device)
            self.normalize.to(images.device)
            self.columns = self.columns.to(images.device)
        logits, offsets = self.network(self.normalize(images))
        return logits.index_select(-1, self.columns).float(), offsets.float()


def _cross_entropy(logits: Float[Tensor, "n p c"], wanted: Float[Tensor, "n p c"]) -> Float[Tensor, ""]:
    """Summed binary cross entropy."""
    return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")


def _columns(teacher: SSD, student: SSD) -> list[int]:
    """The teacher's column of each of the student's classes; first the background's, where scores are a softmax."""
    known, first = teacher.spec.labels.names, int(teacher.spec.background)
    unknown = [name for name in student.spec.labels.names if name not in known]
    if unknown:
        raise ModelError(
            f"the teacher '{teacher.spec.name}' does not know the class '{unknown[0]}'{did_you_mean(unknown[0], known)}"
        )
    columns = [first + known.index(name) for name in student.spec.labels.names]
    return columns if teacher.spec.activation == "sigmoid" else [0, *columns]


def _check(teacher: SSD, student: SSD) -> None:
    """Raises `ModelError` where priors, coding, kind of scores or input differ."""
    ours, theirs = student.spec, teacher.spec
    pairs = (
        ("input", (theirs.input.height, theirs.input.width), (ours.input.height, ours.input.width)),
        ("activation", theirs.activation, ours.activation),
        ("coder", theirs.coder, ours.coder),
        ("number of priors", len(teacher.priors), len(student.priors)),
    )
    for what, other, own in pairs:
        if other != own:
            raise ModelError(f"the {what} of the teacher '{theirs.name}' is {other}, that of '{ours.name}' is {own}")
    if not torch.allclose(teacher.priors, student.priors, atol=1e-5):
        raise ModelError(f"the priors of the teacher '{theirs.name}' are not those of '{ours.name}'")
