"""The layers of a model: its input, backbone, extra levels or pyramid, and head."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")

Activation = Literal["relu", "relu6", "hard_swish"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InputSpec:
    """How a photo becomes the network's input; `(x - mean) / std` per channel is computed inside the graph."""

    height: int
    width: int
    color: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: Literal["stretch", "letterbox"] = "stretch"
    interpolation: Literal["bilinear", "bilinear_antialias", "by_size"] = "bilinear"
    """`by_size`: cubic where both sides grow, area where both shrink, else bilinear (GluonCV)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NormSpec:
    """Batch norm: `eps` is added to the variance, `momentum` is the share of the newest batch (torch's sense)."""

    eps: float = 1e-5
    momentum: float = 0.1


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BackboneSpec:
    """The trunk: a network of our own by its name, `torchvision/NAME` or `timm/NAME`; `taps` are the maps handed on.

    Taps of a timm backbone are indexes of its `feature_info`; `head` there means the final 1x1 `conv_head` map. Those
    of a torchvision network are `INDEX` (a block's output) or `INDEX.expand` (its expansion), those of `vgg16_atrous`
    are `conv4_3` and `fc7`, those of `mobilenet_v1` the numbers of its separable blocks, 1 to 13 (1 to 12 of its small
    relatives for faces, `mobilenet_v1_slim` and `mobilenet_v1_rfb`), those of `mobilenet_v3_large_late_squeeze` and
    `mobilenet_v3_small_late_squeeze` the numbers of their blocks, the final 1x1 convolution being the last, those of
    `mobilenext` `INDEX` or `INDEX.expand` (the wide map inside a sandglass block), 1 to 20.
    """

    name: str
    taps: tuple[str, ...]
    padding: Literal["torch", "same", "same_pool", "same_depthwise"] = "torch"
    """`same` is TensorFlow's rule, uneven at stride 2; it may hold for the first pooling or the depthwise convolutions
    alone (MindCV)."""
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    width: float = 1.0
    """Multiplier of the channels of `mobilenet_v1` and of torchvision's MobileNets."""
    min_channels: int = 1
    """As many has every layer of `mobilenet_v1` at least, however narrow it is (TensorFlow: 16)."""
    activation: Activation | None = None
    """Of `mobilenet_v1` in place of its ReLU6."""
    reduced_tail: bool = False
    squeeze: Literal["after_activation", "before_activation"] = "after_activation"
    """Where the squeeze-and-excitation of `torchvision/mobilenet_v3_*` stands in a block."""
    unstrided: tuple[str, ...] = ()
    """Stages of a timm ResNet, such as `layer3`, that keep the size of their map (NVIDIA, GluonCV's ResNet-34)."""
    stride_first: bool = False
    """Whether bottlenecks of a timm ResNet halve the map in their first 1x1 (ResNet paper) instead of their 3x3."""
    pool_ceil: Literal["pool3", "all", "none"] = "pool3"
    """Which max poolings of `vgg16_atrous` and `torchvision/squeezenet1_1` round the size of their map up."""
    l2norm: float | None = None
    """Initial scale of the L2 normalisation of the first tap; none without it."""
    first_batch_norm: bool = False
    """Whether the first tap of `vgg16_atrous` goes through a batch norm instead (qfgaohao)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExtraBlock:
    """One extra level: 1x1 to `mid` channels, then `kernel` x `kernel` to `out` channels."""

    mid: int
    out: int
    stride: int = 2
    padding: int = 1
    kernel: int = 3


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FirstMapSpec:
    """A 1x1 convolution with batch norm and activation that widens the finest map of the backbone (MindCV)."""

    channels: int
    activation: Activation
    norm: NormSpec


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExtrasSpec:
    """The levels after the backbone.

    `conv`: 1x1 and k x k with bias; `conv_norm`: the same with batch norm; `separable`: 1x1, depthwise k x k, 1x1;
    `sandglass`: depthwise k x k, 1x1 to `mid` without activation, 1x1 (MobileNeXt).
    """

    kind: Literal["conv", "conv_norm", "separable", "sandglass"]
    blocks: tuple[ExtraBlock, ...]
    activation: Activation | None = None
    """None: ReLU for `conv`, ReLU6 for the others."""
    batch_norm: bool = True
    """Of `separable` blocks; without it their convolutions have biases."""
    linear_out: bool = False
    """Whether `separable` blocks end without activation, as inverted residuals do."""
    squeeze: bool = False
    """Whether `separable` blocks squeeze and excite between their depthwise norm and its activation."""
    padding: Literal["torch", "same"] | None = None
    """None: the backbone's."""
    first: FirstMapSpec | None = None
    consumes_last: bool = False
    """Whether the last tap of the backbone feeds the extras alone, without predictors of its own (MobileNeXt)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HeadSpec:
    """Class and box predictors: one per level (`conv`, `separable`), or one tower shared by all levels (`shared`)."""

    kind: Literal["conv", "separable", "shared"]
    kernel: int = 3
    """Of the predictors of kind `conv`, and of a plain last one."""
    stride: int = 1
    """Of the predictors of kind `conv`: only every such row and column of a map has priors (MLPerf's inference)."""
    batch_norm: bool = True
    """Of `separable` predictors, with ReLU6; without it the depthwise convolution has a bias and ReLU."""
    plain_last: bool = False
    """Whether the predictor of the last level is a plain convolution where the others are `separable`."""
    tower_depth: int = 0
    tower_channels: int = 0
    separable_tower: bool = False
    """Whether the convolutions of a shared head, its predictors too, are depthwise separable."""
    shared_tower: bool = False
    """Whether one tower feeds both predictors of a shared head, instead of one tower for each."""
    prior_probability: float | None = None
    """Initial probability of every class (bias of the class predictor); none: bias 0."""
