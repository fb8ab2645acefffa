"""What a model is: every number that differs between SSD codebases, as frozen keyword-only dataclasses.

A sheet (`zoo/models/*.toml`) is read into a `ModelSpec`; the same spec travels as JSON inside every checkpoint and
every exported file, so that a file alone is enough to predict. Sizes are pixels of the network's input, colours are
on the 0..255 scale, boxes are x1, y1, x2, y2.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class InputSpec:
    """How a photo becomes the network's input; `(x - mean) / std` per channel is computed inside the graph."""

    height: int
    width: int
    color: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: Literal["stretch", "letterbox"] = "stretch"
    interpolation: Literal["bilinear", "bilinear_antialias"] = "bilinear"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BackboneSpec:
    """The trunk: `vgg16_atrous`, `mobilenet_v1`, `torchvision/NAME` or `timm/NAME`; `taps` are the maps handed on.

    Taps of a timm backbone are indexes of its `feature_info`; `head` there means the final 1x1 `conv_head` map. Those
    of a torchvision mobilenet are `INDEX` (a block's output) or `INDEX.expand` (its expansion), those of `vgg16_atrous`
    are `conv4_3` and `fc7`, those of `mobilenet_v1` the numbers of its separable blocks, 1 to 13.
    """

    name: str
    taps: tuple[str, ...]
    padding: Literal["torch", "same"] = "torch"
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    width: float = 1.0
    """Multiplier of the channels of `mobilenet_v1`."""
    reduced_tail: bool = False
    pool_ceil: Literal["pool3", "all"] = "pool3"
    l2norm: float | None = None
    """Initial scale of the L2 normalisation of the first tap; none without it."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ExtraBlock:
    """One extra level: 1x1 to `mid` channels, then `kernel` x `kernel` to `out` channels."""

    mid: int
    out: int
    stride: int = 2
    padding: int = 1
    kernel: int = 3


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ExtrasSpec:
    """The levels after the backbone: convolutions with bias, with batch norm, or separable ones with batch norm."""

    kind: Literal["conv", "conv_norm", "separable"]
    blocks: tuple[ExtraBlock, ...]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FpnSpec:
    """A feature pyramid over the taps, then `extra_levels` stride-2 convolutions on its last map."""

    channels: int
    extra_levels: int
    separable: bool
    upsample: Literal["nearest", "bilinear"] = "nearest"
    smooth_last: bool = False
    """Whether the coarsest lateral map is smoothed by a 3x3 as the finer ones are."""
    carry: Literal["sum", "smoothed"] = "sum"
    """What the top-down path carries to the next finer level: the plain sum, or the sum after its 3x3."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class HeadSpec:
    """Class and box predictors: one per level (`conv`, `separable`), or one tower shared by all levels (`shared`)."""

    kind: Literal["conv", "separable", "shared"]
    kernel: int = 3
    """Of the predictors of kind `conv`."""
    tower_depth: int = 0
    tower_channels: int = 0
    separable_tower: bool = False
    """Whether the convolutions of a shared head, its predictors too, are depthwise separable."""
    shared_tower: bool = False
    """Whether one tower feeds both predictors of a shared head, instead of one tower for each."""
    prior_probability: float | None = None
    """Initial probability of every class (bias of the class predictor); none: bias 0."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PriorLevel:
    """Priors of one feature map: a list of `shapes` (w, h in pixels), or `min_size`, `max_size` and `ratios`.

    By the rule a cell holds, in Caffe's order: the square of `min_size`, the square of sqrt(min_size * max_size), then
    per ratio r the wide (w sqrt r, h / sqrt r) and the tall one. `step` is the distance of centres; none: input / map
    size.
    """

    min_size: float | None = None
    max_size: float | None = None
    ratios: tuple[float, ...] = ()
    step: float | None = None
    shapes: tuple[tuple[float, float], ...] = ()
    offset: float | None = None
    """Where in a cell the centre lies, in cells; none: that of the whole `PriorsSpec`."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PriorsSpec:
    """All priors; `truncate` cuts sizes to whole pixels, `clip` limits w, h or all of cx, cy, w, h to the input."""

    levels: tuple[PriorLevel, ...]
    offset: float = 0.5
    truncate: bool = False
    clip: Literal["none", "size", "center_form"] = "none"
    quantum: float | None = None
    """Step to whole multiples of which all of cx, cy, w, h (fractions) are rounded, as a quantised file stores them."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CoderSpec:
    """Box coding: offsets are divided by the variances; `clamp_sides` limits dw, dh before exp at `clamp`."""

    center_variance: float = 0.1
    size_variance: float = 0.2
    clamp_sides: Literal["none", "upper", "both"] = "none"
    clamp: float = 4.135166556742356
    """ln(1000 / 16)."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class MatchingSpec:
    """Which priors learn which object: IoU threshold, and how every object is given its best prior.

    `per_object`: each object's best prior is forced, later objects win; `bipartite`: the globally best pair first, each
    prior once; `none`: the threshold alone. `inclusive`: IoU equal to the threshold is positive.
    """

    iou: float = 0.5
    inclusive: bool = True
    best_prior: Literal["per_object", "bipartite", "none"] = "per_object"
    iou_eps: float = 0.0
    """Added to the denominator of IoU on fractional boxes."""
    unit: Literal["fractions", "pixels"] = "fractions"
    """In which IoU is computed; rounding then decides which of equal priors an object gets."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PostprocessSpec:
    """From scores and boxes to detections."""

    score_threshold: float
    topk: int | None
    topk_scope: Literal["class", "level", "global"] = "class"
    iou: float
    iou_inclusive: bool = False
    """Whether IoU equal to the threshold suppresses."""
    iou_eps: float = 0.0
    plus_one: bool = False
    """The legacy rule in which a box from x1 to x2 is x2 - x1 + 1 pixels wide."""
    max_detections: int | None
    clip: bool = True
    """Whether boxes are clipped to the image before NMS."""
    order: Literal["score_descending", "score_ascending", "class"] = "score_descending"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LabelSpec:
    """Names of the foreground classes, in the order of the logits' columns, and the dataset's own id of each."""

    names: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    """Category ids for COCO files, one per name; empty: 1..n."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Metric:
    """A published or measured accuracy, with where it comes from."""

    dataset: str
    metric: str
    value: float
    source: str


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class WeightsSpec:
    """Where trained weights are published; `importer` names the room that reads the file."""

    url: str
    sha256: str | None = None
    licence: str
    importer: str


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CheckSpec:
    """Facts that the tests hold the built model to."""

    priors: int
    parameters: int


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ModelSpec:
    """One complete model: `architecture.tag`, its network, priors, coding, matching, post-processing and labels."""

    architecture: str
    tag: str
    description: str
    aliases: tuple[str, ...] = ()
    licence: str = "Apache-2.0"
    input: InputSpec
    backbone: BackboneSpec
    extras: ExtrasSpec | None = None
    fpn: FpnSpec | None = None
    head: HeadSpec
    priors: PriorsSpec
    coder: CoderSpec = field(default_factory=CoderSpec)
    activation: Literal["softmax", "sigmoid"] = "softmax"
    background: bool = True
    """Whether column 0 of the logits is the background; sigmoid models may have none."""
    matching: MatchingSpec = field(default_factory=MatchingSpec)
    postprocess: PostprocessSpec
    labels: LabelSpec = field(default_factory=LabelSpec)
    metrics: tuple[Metric, ...] = ()
    weights: WeightsSpec | None = None
    check: CheckSpec | None = None

    @property
    def name(self) -> str:
        """`architecture.tag`, or the architecture alone where the tag is empty."""
        return f"{self.architecture}.{self.tag}" if self.tag else self.architecture

    @property
    def columns(self) -> int:
        """Columns of the logits: one per name, and one for the background where the model has it."""
        return len(self.labels.names) + int(self.background)

    @property
    def matching_size(self) -> tuple[int, int] | None:
        """The input's height and width where matching compares pixels, else none (see `boxes.matching.match`)."""
        return (self.input.height, self.input.width) if self.matching.unit == "pixels" else None

    def with_names(self, names: tuple[str, ...], ids: tuple[int, ...] = ()) -> ModelSpec:
        """The same model for other classes; facts that no longer hold (check, metrics, weights) are dropped."""
        return replace(self, labels=LabelSpec(names=names, ids=ids), check=None, metrics=(), weights=None)
