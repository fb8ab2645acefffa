"""What a training may be told: one flat, frozen set of options, checked before anything is read."""

from __future__ import annotations

import re
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import TypeAdapter, ValidationError

from multibox.errors import UsageError, did_you_mean
from multibox.spec import ModelSpec
from multibox.training.processes import find_processes
from multibox.training.rules import Assigner, BoxLoss, ClassLoss, LossRules, rules_for
from multibox.training.sampling import Balance
from multibox.zoo import is_weights_file

_SIZE = re.compile(r"([1-9]\d*)(?:x([1-9]\d*))?")


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """One training. `None` stands for a default that depends on the model or the data; `resolve` fills it in."""

    data: str
    model: str
    """A sheet's name, a sheet's path, or a file with weights to go on from (fine-tuning)."""
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
    batch: int = 16
    """Images of one forward pass; `accumulate` of them make a step of the optimizer."""
    accumulate: int = 1
    auto_batch: bool = False
    """Whether a batch that does not fit in memory is halved, and twice as many are accumulated."""
    lr0: float | None = None
    """Highest learning rate, taken as given; none: the recipe's of the model, scaled to the batch."""
    lr_final: float = 0.0
    """Last learning rate of the cosine, as a share of `lr0`."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    weight_decay: float | None = None
    sync_bn: bool = False
    """Whether batch norms see the images of all processes (GPUs only)."""
    decay_norms: bool = True
    """Whether weight decay acts on norms and biases too."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    milestones: tuple[float, ...] = (0.67, 0.89)
    """Where the step schedule multiplies the rate by 0.1, as shares of the training."""
    warmup_epochs: float = 1.0
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
    crop: bool = True
    """Whether parts of photos are cut out by the paper's IoU rule, with sides of at least `crop_min` of the photo's."""
    crop_min: float = 0.3
    flip: float = 0.5
    """Probability of a mirrored photo."""
    photometric: bool = True
    mosaic: float = 0.0
    """Probability of a sample made of four photos."""
    mixup: float = 0.0
    """Probability of another photo that shines through."""
    close_mosaic: int = 10
    """Epochs at the end without mosaic and mixup, so that the last images learnt are whole ones."""
    augment: bool = True
    """Whether photos are changed at all."""
    cache: bool = False
    """Whether the files' bytes are kept in memory."""
    balance: Balance = "none"
    """Which images an epoch shows more often, others less: those of rare classes (`training.sampling`)."""
    repeat_threshold: float = 0.001
    """Of `repeat_factor`: classes in a smaller share of the images are rare."""
    seed: int = 0
    workers: int = 2
    threads: int | None = None
    """CPU threads of the network; none: torch's own choice."""
    device: str = "auto"
    amp: Literal["none", "bf16", "fp16"] = "none"
    """Mixed precision; `fp16`, with its loss scaled, on CUDA devices only."""
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
        _at_least(self, 1, "epochs", "batch", "accumulate", "val_period")
        _at_least(
            self, 0, "workers", "warmup_epochs", "save_period", "save_minutes", "patience", "momentum", "lr_final",
            "teacher_weight", "negative_ratio", "box_weight", "close_mosaic",
        )  # fmt: skip
        if self.weights and self.start != self.weights:
            raise UsageError(f"model '{self.model}' is a file with weights, and weights is given too; give one of them")
        if self.backbone and self.start == self.model:
            raise UsageError(f"model '{self.model}' is a file with weights, which have a backbone; leave out backbone")
        if not 0 <= self.ema < 1:
            raise UsageError(f"ema is {self.ema}; it is a decay from 0 (none) to below 1")
        if self.lr0 is not None and self.lr0 <= 0:
            raise UsageError(f"lr0 is {self.lr0}; a learning rate is above 0")
        for name in ("zoom_out", "flip", "crop_min", "mosaic", "mixup", "repeat_threshold", "focal_alpha"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"{name} is {value}; it is from 0 to 1")
        if self.focal_gamma is not None and self.focal_gamma != 0 and not self.focal_gamma >= 1:
            raise UsageError(f"focal_gamma is {self.focal_gamma}; it is 0 or at least 1")

    @property
    def total_batch(self) -> int:
        """Images of one step of the optimizer, of all processes."""
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


def resolve(options: TrainOptions, spec: ModelSpec) -> TrainOptions:
    """The options with the recipe's learning rate and weight decay for this model, and its losses, where not given."""
    rate = _default_rate(spec, options) if options.lr0 is None else options.lr0
    decay = _default_decay(spec, options) if options.weight_decay is None else options.weight_decay
    rules = options.rules(spec)
    return replace(
        options,
        lr0=rate,
        weight_decay=decay,
        box_weight=rules.box_weight,
        focal_alpha=rules.focal_alpha,
        focal_gamma=rules.focal_gamma,
    )


def _default_rate(spec: ModelSpec, options: TrainOptions) -> float:
    """The recipe's learning rate for this batch: proportional to the batch, a tenth where trained weights go on.

    Sources: torchvision's references (ssd300_vgg16: 0.002 for 32 images), measured for networks with batch norm
    (0.05 for 16 images), and 0.001 for 16 images with AdamW.
    """
    if options.optimizer == "adamw":
        per_image = 0.001 / 16
    elif spec.backbone.name.startswith("vgg"):
        per_image = 0.002 / 32
    else:
        per_image = 0.05 / 16
    return per_image * options.total_batch * (0.1 if options.start else 1.0)


def _default_decay(spec: ModelSpec, options: TrainOptions) -> float:
    """The recipe's weight decay: the paper's for VGG, torchvision's for mobile networks, a usual one for AdamW."""
    if options.optimizer == "adamw":
        return 0.05
    return 5e-4 if spec.backbone.name.startswith("vgg") else 4e-5


def to_table(options: TrainOptions) -> dict[str, Any]:
    """Names and plain values, as `args.yaml` holds them."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(options).items()}


def read_options(path: Path, changes: dict[str, Any]) -> TrainOptions:
    """The options of a YAML file, some changed. Raises `UsageError` naming the file, the key and the nearest one."""
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: not a readable file of options ({' '.join(str(error).split())})") from None
    if not isinstance(table, dict):
        raise UsageError(f"{path}: not a table of options, such as 'epochs: 60'")
    return make_options({**table, **changes}, where=str(path))


def make_options(table: dict[str, Any], where: str = "options") -> TrainOptions:
    """The options of a table of names and values. Raises `UsageError` naming the key and what is wrong with it."""
    known = {field.name: field for field in fields(TrainOptions)}
    for key in table:
        if key not in known:
            raise UsageError(f"{where}: unknown option '{key}'{did_you_mean(str(key), known)}")
    missing = [key for key, field in known.items() if field.default is MISSING and key not in table]
    if missing:
        raise UsageError(f"{where}: option '{missing[0]}' is missing")
    try:
        return TypeAdapter(TrainOptions).validate_python(table)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{where}: option '{'.'.join(map(str, first['loc']))}': {first['msg']}") from None


def _at_least(options: TrainOptions, least: int, *names: str) -> None:
    """Raises `UsageError` for the first of these options that is too small."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < least:
            raise UsageError(f"{name} is {value}; it is at least {least}")
