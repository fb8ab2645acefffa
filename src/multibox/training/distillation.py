"""A trained network as teacher: the student also learns its scores and boxes."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from multibox.errors import ModelError
from multibox.network.model import SSD, Predictions
from multibox.network.normalize import Normalize


class Teacher:
    """A network in evaluation and what its opinion weighs. It is no part of the student's state."""

    def __init__(self, network: SSD, weight: float) -> None:
        """`weight` multiplies the loss; the teacher has the student's priors and columns (see `check_teacher`)."""
        self.network = network.eval().requires_grad_(False)
        self.normalize = Normalize(network.spec.input).eval()
        self.weight = weight

    def loss(self, images: UInt8[Tensor, "n h w 3"], student: Predictions) -> Float[Tensor, ""]:
        """Weighted loss of the student's predictions on the same augmented images.

        Scores: cross entropy with the teacher's probabilities, less its own entropy, so that 0 is perfect agreement;
        summed over all priors, divided by the teacher's foreground mass. Offsets: smooth L1, each prior weighted by the
        teacher's highest foreground probability. Both are therefore per object-like prior, as the MultiBox loss is.
        """
        if next(self.network.parameters()).device != images.device:
            self.network.to(images.device)
            self.normalize.to(images.device)
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            taught = self.network(self.normalize(images))
        logits, target = student.logits.float(), taught.logits.float()
        spec = self.network.spec
        if spec.activation == "sigmoid":
            probability = target.sigmoid()
            foreground = probability[..., int(spec.background) :].amax(dim=-1)
            scores = functional.binary_cross_entropy_with_logits(logits, probability, reduction="none")
            scores -= functional.binary_cross_entropy_with_logits(target, probability, reduction="none")
        else:
            probability = target.softmax(dim=-1)
            foreground = 1 - probability[..., 0]
            scores = functional.kl_div(
                logits.log_softmax(dim=-1), target.log_softmax(dim=-1), reduction="none", log_target=True
            )
        mass = foreground.sum().clamp(min=1)
        boxes = functional.smooth_l1_loss(student.offsets.float(), taught.offsets.float(), reduction="none")
        return self.weight * (scores.sum() + (boxes.sum(dim=-1) * foreground).sum()) / mass


def check_teacher(teacher: SSD, student: SSD) -> None:
    """Raises `ModelError` where the two do not speak of the same priors, classes or input."""
    ours, theirs = student.spec, teacher.spec
    if theirs.labels.names != ours.labels.names:
        raise ModelError(
            f"the teacher knows {len(theirs.labels.names)} classes and the student {len(ours.labels.names)}, or their "
            "names or order differ; a teacher has the student's classes"
        )
    same = theirs.activation == ours.activation and theirs.background == ours.background and theirs.coder == ours.coder
    size = (theirs.input.height, theirs.input.width) == (ours.input.height, ours.input.width)
    if not same or not size or teacher.priors.shape != student.priors.shape:
        raise ModelError(f"the teacher '{theirs.name}' has other priors, coding or input than the student '{ours.name}'")
    if not torch.allclose(teacher.priors, student.priors, atol=1e-5):
        raise ModelError(f"the teacher '{theirs.name}' has other priors than the student '{ours.name}'")
