"""One complete model: its layers and priors, with its labels, accuracy, weights and the facts that tests hold."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Literal

from pydantic.dataclasses import dataclass

from multibox.spec.boxes import CoderSpec, LossSpec, MatchingSpec, PostprocessSpec, PriorsSpec
from multibox.spec.network import STRICT, BackboneSpec, ExtrasSpec, FpnSpec, HeadSpec, InputSpec, NormSpec


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LabelSpec:
    """Names of the foreground classes, in the order of the logits' columns, and the dataset's own id of each."""

    names: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    """Category ids for COCO files, one per name; empty: 1..n."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Metric:
    """A published or measured accuracy, with where it comes from."""

    dataset: str
    metric: str
    value: float
    source: str


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WeightsSpec:
    """Where trained weights are published; `importer` names the room that reads the file."""

    url: str
    sha256: str | None = None
    """Of the file, whole or as many of its first digits as the publisher states."""
    licence: str
    importer: str


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CheckSpec:
    """Facts that the tests hold the built model to."""

    priors: int
    parameters: int
    macs: int | None = None
    """Multiply-accumulate operations for one image, of convolutions alone."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
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
    neck_norm: NormSpec | None = None
    """Batch norms of extras, pyramid and head; none: as the backbone's."""
    priors: PriorsSpec
    coder: CoderSpec = field(default_factory=CoderSpec)
    activation: Literal["softmax", "sigmoid"] = "softmax"
    background: bool = True
    """Whether column 0 of the logits is the background; sigmoid models may have none."""
    matching: MatchingSpec = field(default_factory=MatchingSpec)
    loss: LossSpec = field(default_factory=LossSpec)
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
    def norm(self) -> NormSpec:
        """The batch norms of extras, pyramid and head."""
        return self.neck_norm or NormSpec(eps=self.backbone.norm_eps, momentum=self.backbone.norm_momentum)

    @property
    def matching_size(self) -> tuple[int, int] | None:
        """The input's height and width where matching compares pixels, else none (see `boxes.matching.match`)."""
        return (self.input.height, self.input.width) if self.matching.unit == "pixels" else None

    def with_names(self, names: tuple[str, ...], ids: tuple[int, ...] = ()) -> ModelSpec:
        """The same model for other classes; facts that no longer hold (check, metrics, weights) are dropped."""
        return replace(self, labels=LabelSpec(names=names, ids=ids), check=None, metrics=(), weights=None)
