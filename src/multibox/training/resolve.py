"""What is left open in the options, filled in from the model and the data."""

from __future__ import annotations

import logging
from dataclasses import replace

from multibox.spec import ModelSpec
from multibox.training.loop.schedule import epoch_steps
from multibox.training.options import TrainOptions

log = logging.getLogger(__name__)

_RATES = {"separable": 0.05 / 16, "shared": 0.04 / 64}
"""Learning rates for one image, by the kind of the head; norms in it bear higher ones."""


def resolve(options: TrainOptions, spec: ModelSpec, images: int | None = None) -> TrainOptions:
    """The options with this model's learning rate, weight decay and losses, where not given, and the length in epochs.

    `images` of one epoch are needed where the length is given in iterations.
    """
    rate = _default_rate(spec, options) if options.lr0 is None else options.lr0
    decay = _default_decay(spec, options) if options.weight_decay is None else options.weight_decay
    rules = options.rules(spec)
    if options.iterations is not None:
        assert images is not None
        options = _in_epochs(options, options.iterations, images)
    return replace(
        options,
        lr0=rate,
        weight_decay=decay,
        box_weight=rules.box_weight,
        focal_alpha=rules.focal_alpha,
        focal_gamma=rules.focal_gamma,
    )


def _in_epochs(options: TrainOptions, iterations: int, images: int) -> TrainOptions:
    """The same length to the nearest whole epoch of so many images; milestones as shares of it."""
    steps = epoch_steps(options, images)
    epochs = max(1, round(iterations / steps))
    log.info("%d iterations of %d images -> %d epochs of %d steps", iterations, options.total_batch, epochs, steps)
    shares = tuple(m if m < 1 else m / iterations for m in options.milestones if m < iterations)
    return replace(options, iterations=None, epochs=epochs, milestones=shares)


def _default_rate(spec: ModelSpec, options: TrainOptions) -> float:
    """A learning rate for this batch: proportional to the batch, a tenth where trained weights go on.

    Sources: measured for SSDLite (0.05 for 16 images); TensorFlow's FPNs with a shared head (0.04 for 64);
    torchvision's references for VGG16 (0.002 for 32); NVIDIA for other heads without norms (0.0026 for 32); 0.001 for
    16 images with AdamW, Adam and RMSProp.
    """
    if options.optimizer != "sgd":
        per_image = 0.001 / 16
    elif spec.head.kind in _RATES:
        per_image = _RATES[spec.head.kind]
    else:
        per_image = 0.002 / 32 if spec.backbone.name.startswith("vgg") else 0.0026 / 32
    return per_image * options.total_batch * (0.1 if options.start else 1.0)


def _default_decay(spec: ModelSpec, options: TrainOptions) -> float:
    """A weight decay: the paper's for VGG, torchvision's for mobile networks, a usual one for AdamW."""
    if options.optimizer == "adamw":
        return 0.05
    return 5e-4 if spec.backbone.name.startswith("vgg") else 4e-5
