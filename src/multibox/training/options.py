"""What a training may be told: one flat, frozen set of options, checked before anything is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from multibox.data.cache import CacheKind
from multibox.data.photometric import Photometric
from multibox.data.window import CropRule
from multibox.errors import UsageError
from multibox.spec import ModelSpec
from multibox.training.feed.sampling import Balance
from multibox.training.losses.rules import Assigner, BoxLoss, ClassLoss, LossRules, rules_for
from multibox.training.processes.launched import find_processes
from multibox.zoo import is_weights_file

_SIZE = re.compile(r"([1-9]\d*)(?:x([1-9]\d*))?")


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """One training. `None` stands for a default that depends on the model or the data; `resolve` fills it in."""

    data: str
    model: str
    """A sheet's name, a sheet's path, or a file with weights to go on from (fine-tuning)."""
    recipe: str | None = None
    """The recipe that what is not given comes from, a name or a path (`training.recipe`)."""
    weights: str | None = None
    """Weights to start from, where `model` is a sheet: a file, or a sheet of which weights are published."""
    backbone: str | None = None
    """Another backbone than the sheet's, such as timm's name of one (`zoo.create`)."""
    pretrained_backbone: bool = False
    """Whether the backbone starts from its published ImageNet weights, which may be downloaded."""
    imgsz: int | str | None = None
    """Another input than the model's: its side in pixels, or `WIDTHxHEIGHT`."""
    split: str = "train"
    val_split: str = "val"
    """The split that chooses the best epoch; `none` trains without validation."""
    names: tuple[str, ...] | None = None
    epochs: int = 60
    iterations: int | None = None
    """Length in steps, to the nearest whole epoch; none: `epochs`."""
    batch: int = 16
    """Images of one forward pass; `accumulate` of them make a step of the optimizer."""
    accumulate: int = 1
    auto_batch: bool = False
    """Whether a batch that does not fit in memory is halved, and twice as many are accumulated."""
    lr0: float | None = None
    """Highest learning rate, taken as given; none: the model's, scaled to the batch."""
    lr_final: float = 0.0
    """Last learning rate of the cosine and of poly, as a share of `lr0`."""
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"] = "sgd"
    momentum: float = 0.9
    """Of SGD and RMSProp, and the first beta of Adam."""
    nesterov: bool = False
    square_decay: float | None = None
    """Decay of the mean of squared gradients; none: 0.999 for Adam, 0.99 for RMSProp."""
    weight_decay: float | None = None
    sync_bn: bool = False
    """Whether batch norms see the images of all processes (GPUs only)."""
    decay_norms: bool = True
    """Whether weight decay acts on norms and biases too."""
    decay_biases: bool = True
    """Whether weight decay acts on the biases of convolutions."""
    bias_rate: float = 1.0
    """Learning rate of the biases of convolutions, times that of all else."""
    schedule: Literal["cosine", "step", "poly", "constant"] = "cosine"
    milestones: tuple[float, ...] = (0.67, 0.89)
    """Where the step schedule multiplies the rate by `step_factor`: shares of the training below 1, epochs (iterations,
    where the length is given in these) from 1 on."""
    step_factor: float = 0.1
    poly_power: float = 1.0
    rate_every: int = 0
    """Epochs between the changes of the rate; 0: it changes with every step."""
    decay_from: Literal["warmup", "start"] = "warmup"
    """Where cosine and poly begin: after the warm-up, or with the first step, under it."""
    warmup: Literal["linear", "constant"] = "linear"
    warmup_start: float = 0.001
    """First rate of the warm-up as a share, which a constant warm-up keeps."""
    warmup_epochs: float | None = None
    """Length of the warm-up; none: `warmup_steps`, or 1 where that is not given. The shorter of both is taken."""
    warmup_steps: int | None = None
    clip_grad: float | None = None
    """Largest norm of the gradient; none: not clipped."""
    assigner: Assigner = "sheet"
    """Which priors learn which object; `sheet`: by the sheet's own rule."""
    class_loss: Literal["sheet", ClassLoss] = "sheet"
    """`sheet`: mined for softmax models, focal for sigmoid models."""
    box_loss: BoxLoss = "smooth_l1"
    box_weight: float | None = None
    """Multiplies the loss of the boxes; none: 1 for smooth L1, 2 for the others."""
    negative_ratio: float = 3.0
    """Hard negatives per positive of the mined loss."""
    focal_alpha: float | None = None
    """Weight of what is to be found in the focal losses, all else weighs 1 - alpha; none: the sheet's."""
    focal_gamma: float | None = None
    """Power by which the focal losses spare what is nearly right; none: the sheet's."""
    ema: float = 0.9998
    """Decay of the averaged weights, reached slowly; 0: none."""
    freeze: tuple[str, ...] = ()
    """Parts of the network that do not learn, such as `backbone`."""
    freeze_norms: bool = False
    """Whether batch norms keep the statistics and scales that they start with."""
    teacher: str | None = None
    """A file with a trained network of the same priors and classes, to learn from beside the truth."""
    teacher_weight: float = 1.0
    zoom_out: float = 0.5
    """Probability of zooming out, up to `zoom_out_max` times the sides of the photo."""
    zoom_out_max: float = 4.0
    crop: bool | CropRule = True
    """Whether parts of photos are cut out, and by which IoU rule."""
    crop_min: float | None = None
    """Smallest side of a crop as a share of the photo's; none: the rule's own, by default 0.3."""
    flip: float = 0.5
    """Probability of a mirrored photo."""
    photometric: bool | Photometric = True
    mosaic: float = 0.0
    """Probability of a sample made of four photos."""
    mixup: float = 0.0
    """Probability of another photo that shines through."""
    close_mosaic: int = 10
    """Epochs at the end without mosaic and mixup, so that the last images learnt are whole ones."""
    augment: bool = True
    """Whether photos are changed at all."""
    multi_scale: float = 0.0
    """Share by which the sides of the network's input vary from batch to batch, while it learns."""
    cache: CacheKind | bool = "none"
    """What of the photos is kept: their files' `bytes` (or true), or decoded pixels in `ram` or on the `disk`."""
    balance: Balance = "none"
    """Which images an epoch shows more often, others less: those of rare classes (`feed.sampling`)."""
    repeat_threshold: float = 0.001
    """Of `repeat_factor`: classes in a smaller share of the images are rare."""
    seed: int = 0
    workers: int = 2
    threads: int | None = None
    """CPU threads of the network; none: torch's own choice."""
    device: str = "auto"
    amp: Literal["none", "bf16", "fp16"] = "none"
    """Mixed precision; `fp16`, with its loss scaled, on CUDA devices only."""
    compile: bool = False
    """Whether the network is compiled (`torch.compile`) before the first step: minutes at the start, faster steps."""
    logger: Literal["none", "wandb", "mlflow"] = "none"
    """Who else is told the numbers of each epoch."""
    val_period: int = 1
    save_minutes: float = 10.0
    """Minutes between checkpoints in the middle of an epoch; 0: at the ends of epochs only."""
    save_period: int = 0
    """Keep the weights of every k-th epoch; 0: best and last only."""
    patience: int = 0
    """Stop after so many epochs without a better AP; 0: never."""
    project: str = "runs/train"
    name: str = "run"
    exist_ok: bool = False

    def __post_init__(self) -> None:
        """Raises `UsageError` for a value out of its range."""
        _ = self.input_size
        _at_least(self, 1, "epochs", "iterations", "batch", "accumulate", "val_period")
        _at_least(
            self, 0, "workers", "warmup_epochs", "warmup_steps", "warmup_start", "save_period", "patience", "momentum",
            "lr_final", "teacher_weight", "negative_ratio", "box_weight", "bias_rate", "step_factor", "poly_power",
            "rate_every", "close_mosaic", "save_minutes",
        )  # fmt: skip
        if self.weights and self.start != self.weights:
            raise UsageError(f"model '{self.model}' is a file with weights, and weights is given too; give one of them")
        if self.backbone and self.start == self.model:
            raise UsageError(f"model '{self.model}' is a file with weights, which have a backbone; leave out backbone")
        if self.teacher and self.multi_scale:
            raise UsageError("a teacher has priors for one size of the input; leave out teacher or multi_scale")
        if not 0 <= self.ema < 1:
            raise UsageError(f"ema is {self.ema}; it is a decay from 0 (none) to below 1")
        if self.lr0 is not None and self.lr0 <= 0:
            raise UsageError(f"lr0 is {self.lr0}; a learning rate is above 0")
        shares = ("zoom_out", "flip", "crop_min", "mosaic", "mixup", "multi_scale", "repeat_threshold", "focal_alpha")
        for name in shares:
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"{name} is {value}; it is from 0 to 1")
        self._check_learning()
        if self.focal_gamma is not None and self.focal_gamma != 0 and not self.focal_gamma >= 1:
            raise UsageError(f"focal_gamma is {self.focal_gamma}; it is 0 or at least 1")

    def _check_learning(self) -> None:
        """Raises `UsageError` for what the chosen optimizer or schedule would ignore."""
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise UsageError(
                "nesterov is a kind of momentum of sgd; leave it out, or give optimizer sgd and a momentum"
            )
        if self.square_decay is not None and (self.optimizer == "sgd" or not 0 <= self.square_decay < 1):
            raise UsageError(
                f"square_decay is {self.square_decay}; it is from 0 to below 1, of adam, adamw and rmsprop"
            )
        for milestone in self.milestones:
            last, unit = (self.iterations, "iterations") if self.iterations else (self.epochs, "epochs")
            if milestone <= 0 or (milestone >= 1 and milestone > last):
                raise UsageError(
                    f"milestones holds {milestone:g}; give shares of the training below 1, or {unit} up to {last}"
                )

    @property
    def total_batch(self) -> int:
        """Images of one step of the optimizer, in all processes."""
        return self.batch * self.accumulate * find_processes().world

    @property
    def start(self) -> str | None:
        """The weights to start from, a file or a sheet of which they are published; none: from scratch."""
        return self.model if is_weights_file(self.model) else self.weights

    @property
    def input_size(self) -> tuple[int, int] | None:
        """`imgsz` as (height, width); none: the model's own. Raises `UsageError` for words that are no size."""
        if self.imgsz is None:
            return None
        found = _SIZE.fullmatch(str(self.imgsz))
        if found is None:
            raise UsageError(f"imgsz is '{self.imgsz}'; it is a side in pixels, or WIDTHxHEIGHT such as 640x384")
        return int(found[2] or found[1]), int(found[1])

    def rules(self, spec: ModelSpec) -> LossRules:
        """The assigner and the losses for this model."""
        return rules_for(
            spec,
            assigner=self.assigner,
            class_loss=self.class_loss,
            box_loss=self.box_loss,
            box_weight=self.box_weight,
            negative_ratio=self.negative_ratio,
            focal_alpha=self.focal_alpha,
            focal_gamma=self.focal_gamma,
        )

    @property
    def validates(self) -> bool:
        """Whether a split chooses the best epoch."""
        return self.val_split != "none"


def _at_least(options: TrainOptions, least: int, *names: str) -> None:
    """Raises `UsageError` for the first of these options that is too small."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < least:
            raise UsageError(f"{name} is {value}; it is at least {least}")
