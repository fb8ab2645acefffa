"""The priors of a model: their grid, their coding, what they learn and how detections are read from them."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from multibox.spec.network import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PriorsSpec:
    """All priors; `truncate` cuts sizes to whole pixels, `clip` limits w, h or all of cx, cy, w, h to the input."""

    levels: tuple[PriorLevel, ...]
    offset: float = 0.5
    truncate: bool = False
    clip: Literal["none", "size", "center_form"] = "none"
    quantum: float | None = None
    """Step to whole multiples of which all of cx, cy, w, h (fractions) are rounded, as a quantised file stores them."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CoderSpec:
    """Box coding: offsets are divided by the variances; `clamp_sides` limits dw, dh before exp at `clamp`."""

    center_variance: float = 0.1
    size_variance: float = 0.2
    clamp_sides: Literal["none", "upper", "both"] = "none"
    clamp: float = 4.135166556742356
    """ln(1000 / 16)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MatchingSpec:
    """Which priors learn which object: IoU threshold, and how every object is given its best prior.

    `per_object`: each object's best prior is forced; `bipartite`: the globally best pair first, each
    prior once; `none`: the threshold alone. `inclusive`: IoU equal to the threshold is positive.
    """

    iou: float = 0.5
    inclusive: bool = True
    best_prior: Literal["per_object", "bipartite", "none"] = "per_object"
    contested: Literal["last", "first"] = "last"
    """Which of the objects that share their best prior keeps it under `per_object` (MindCV: the first)."""
    iou_eps: float = 0.0
    """Added to the denominator of IoU on fractional boxes."""
    ties: bool = False
    """Whether a prior also learns its best object where no other prior has a higher IoU with it (GluonCV)."""
    unit: Literal["fractions", "pixels"] = "fractions"
    """In which IoU is computed; rounding then decides which of equal priors an object gets."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LossSpec:
    """What the sum of the losses is divided by, and how sigmoid models learn: focal loss, `alpha` for the targets.

    `positives`: matched priors of the batch; `positives_per_image`: every image by its own, then the mean over the
    batch, images without objects giving 0 (NVIDIA); `images`: the batch's sum of each image's matched priors, at least
    one per image (mmdetection).
    """

    normalizer: Literal["positives", "positives_per_image", "images"] = "positives"
    classification_weight: float = 1.0
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    background_learns: bool = False
    """Whether the background column of a sigmoid model is a class too, the target of unmatched priors (MindCV)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PostprocessSpec:
    """From scores and boxes to detections."""

    score_threshold: float
    topk: int | None = None
    topk_scope: Literal["class", "level", "global"] = "class"
    iou: float
    iou_inclusive: bool = False
    """Whether IoU equal to the threshold suppresses."""
    iou_eps: float = 0.0
    plus_one: bool = False
    """The legacy rule in which a box from x1 to x2 is x2 - x1 + 1 pixels wide."""
    max_detections: int | None = None
    clip: bool = True
    """Whether boxes are clipped to the image before NMS."""
    max_per_class: int | None = None
    """Limit of each class, after NMS (MindCV)."""
    drop_empty: bool = False
    """Whether boxes without area are left out (mmdetection)."""
    order: Literal["score_descending", "score_ascending", "class"] = "score_descending"
