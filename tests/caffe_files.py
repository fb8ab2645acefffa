"""Writes .caffemodel files for tests: a network of layers with blobs, in every form that Caffe has written them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from torch import Tensor

from multibox.spec import ModelSpec

VGG_CONVS = (
    *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3"),
    *("conv4_1", "conv4_2", "conv4_3", "conv5_1", "conv5_2", "conv5_3", "fc6", "fc7"),
)
VGG_INDEXES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28, 31, 33)
VGG_SOURCES = ("conv4_3_norm", "fc7", "conv6_2", "conv7_2", "conv8_2", "conv9_2", "conv10_2")
MOBILENET_SOURCES = ("conv11", "conv13", "conv14_2", "conv15_2", "conv16_2", "conv17_2")
State = dict[str, Tensor]


def varint(number: int) -> bytes:
    """Seven bits per byte, the lowest first."""
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def number(at: int, value: int) -> bytes:
    """A field that is an integer or a switch."""
    return varint(at << 3) + varint(value)


def part(at: int, content: bytes) -> bytes:
    """A field that is a text, a message or packed numbers."""
    return varint(at << 3 | 2) + varint(len(content)) + content


def single(at: int, value: float) -> bytes:
    """A field that is one float."""
    return varint(at << 3 | 5) + np.float32(value).tobytes()


def blob(values: Tensor, *, old: bool = False, packed: bool = True, double: bool = False) -> bytes:
    """A BlobProto; `old` states num, channels, height, width instead of a shape."""
    shape, data = list(values.shape), values.detach().numpy()
    if old:
        sizes = [1] * (4 - len(shape)) + shape
        head = b"".join(number(at, size) for at, size in enumerate(sizes, start=1))
    else:
        head = part(7, part(1, b"".join(map(varint, shape))))
    if double:
        return head + part(8, data.astype("<f8").tobytes())
    if packed:
        return head + part(5, data.astype("<f4").tobytes())
    return head + b"".join(single(5, value) for value in data.ravel())


def layer(name: str, kind: str, blobs: Iterable[bytes] = (), settings: bytes = b"") -> bytes:
    """A layer of today's form within a network."""
    content = part(1, name.encode()) + part(2, kind.encode()) + b"".join(part(7, one) for one in blobs)
    return part(100, content + settings)


def old_layer(name: str, blobs: Iterable[bytes] = ()) -> bytes:
    """A layer of the older form (`layers`); 4 is the number of convolutions there."""
    content = part(2, b"below") + part(3, name.encode()) + part(4, name.encode()) + number(5, 4)
    return part(2, content + b"".join(part(6, one) for one in blobs))


def network(layers: Iterable[bytes], name: str = "net") -> bytes:
    """A whole file."""
    return part(1, name.encode()) + b"".join(layers)


def conv(name: str, state: State, key: str) -> bytes:
    """A convolution with the weights of our `key`."""
    return layer(name, "Convolution", [blob(state[f"{key}.{kind}"]) for kind in ("weight", "bias")])


def predictors(state: State, sources: Sequence[str]) -> Iterator[bytes]:
    """The class and box predictors."""
    for level, source in enumerate(sources):
        yield conv(f"{source}_mbox_loc", state, f"head.boxes.{level}")
        yield conv(f"{source}_mbox_conf", state, f"head.classes.{level}")


def prior_boxes(spec: ModelSpec, sources: Sequence[str]) -> Iterator[bytes]:
    """The PriorBox layers of a spec, as its prototxt would state them."""
    for source, level in zip(sources, spec.priors.levels, strict=True):
        assert level.min_size is not None
        box = single(1, level.min_size + 0.84)
        box += b"" if level.max_size is None else single(2, level.max_size + 0.5)
        box += b"".join(single(3, ratio) for ratio in level.ratios) + number(4, 1) + number(5, 0)
        box += b"".join(single(6, variance) for variance in (0.1, 0.1, 0.2, 0.2))
        box += b"" if level.step is None else single(10, level.step)
        yield layer(f"{source}_mbox_priorbox", "PriorBox", settings=part(203, box + single(13, 0.5)))


def vgg_layers(state: State, sources: Sequence[str]) -> Iterator[bytes]:
    """SSD on VGG16: everything that has weights, and a layer that has none."""
    yield layer("data", "Input")
    for name, index in zip(VGG_CONVS, VGG_INDEXES, strict=True):
        yield conv(name, state, f"backbone.layers.{index}")
    yield layer("conv4_3_norm", "Normalize", [blob(state["backbone.first_norm.scale"])])
    for block, source in enumerate(sources[2:]):
        yield conv(source.replace("_2", "_1"), state, f"extras.blocks.{block}.0")
        yield conv(source, state, f"extras.blocks.{block}.2")
    yield from predictors(state, sources)


def mobilenet_blocks() -> Iterator[tuple[str, str]]:
    """Names of MobileNet-SSD's convolutions, and our keys of the blocks that they make with their norms."""
    yield "conv0", "backbone.stem"
    for block in range(13):
        yield from (
            (f"conv{block + 1}/dw", f"backbone.blocks.{block}.0"),
            (f"conv{block + 1}", f"backbone.blocks.{block}.1"),
        )
    for block in range(4):
        yield from ((f"conv{block + 14}_{half + 1}", f"extras.blocks.{block}.{half}") for half in (0, 1))


def mobilenet_layers(state: State, *, merged: bool, total: float = 4.0) -> Iterator[bytes]:
    """MobileNet-SSD: with BatchNorm and Scale layers, whose sums stand for `total` batches, or merged."""
    for name, key in mobilenet_blocks():
        weight = state[f"{key}.0.weight"]
        names = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, variance = (state[f"{key}.1.{kind}"] for kind in names)
        if merged:
            factor = gamma / (variance + 1e-5).sqrt()
            blobs = [blob(weight * factor.view(-1, 1, 1, 1)), blob(beta - mean * factor)]
            yield layer(name, "Convolution", blobs)
            continue
        yield layer(name, "Convolution", [blob(weight)])
        sums = [blob(mean * total), blob(variance * total), blob(mean.new_tensor([total]))]
        yield layer(f"{name}/bn", "BatchNorm", sums)
        yield layer(f"{name}/scale", "Scale", [blob(gamma), blob(beta)])
    yield from predictors(state, MOBILENET_SOURCES)
