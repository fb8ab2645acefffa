"""TensorFlow's SSD detectors as graphs with random weights, written from their description, and what graphs compute.

No published .tflite of most of them can be had. So they stand here a second time: layer by layer as object_detection
makes them, with batch norm folded as its converter does it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from multibox.weights.importers.tflite_graph import Graph, Operator, Value

V2_BLOCKS = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
V1_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
SCALES = {"x_scale": 10.0, "y_scale": 10.0, "w_scale": 5.0, "h_scale": 5.0}


@dataclass(kw_only=True)
class Ssd:
    """The detectors with extra levels: `trunk` is 1 or 2, the generation of MobileNet."""

    trunk: int
    size: int = 300
    width: float = 1.0
    separable_extras: bool = False
    kernel: int = 1
    separable_head: bool = False
    columns: int = 91
    aspect: float = 2.0
    options: dict[str, float] = field(default_factory=dict)


@dataclass(kw_only=True)
class Pyramid:
    """The detectors with a feature pyramid."""

    trunk: int
    size: int
    channels: int
    lite: bool
    smoothed: bool = True
    resize: str = "pack"
    columns: int = 91
    options: dict[str, float] = field(default_factory=dict)


class Maker:
    """Grows a graph from its input; maps go by the number of their value."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.values = [Value("image", (1, size, size, 3), None, None)]
        self.operators: list[Operator] = []

    def add(self, kind: str, inputs: Sequence[int], shape: Sequence[int], **options: object) -> int:
        """An operator with one output of that shape."""
        self.values.append(Value(f"{kind} {len(self.operators)}", tuple(shape), None, None))
        self.operators.append(Operator(kind, tuple(inputs), (len(self.values) - 1,), **options))  # type: ignore[arg-type]
        return len(self.values) - 1

    def constant(self, array: np.ndarray) -> int:
        self.values.append(Value(f"constant {len(self.values)}", array.shape, array.astype(np.float32), None))
        return len(self.values) - 1

    def shape(self, value: int) -> tuple[int, ...]:
        return self.values[value].shape

    def kernel(self, inputs: int, outputs: int, size: int, depthwise: bool = False) -> np.ndarray:
        """Random, of such a size that maps keep theirs."""
        shape = (1, size, size, inputs) if depthwise else (outputs, size, size, inputs)
        return self.random.normal(0, math.sqrt(2 / (size * size * (1 if depthwise else inputs))), shape)

    def conv(
        self, x: int, outputs: int, size: int, stride: int = 1, *, depthwise: bool = False, active: bool = True
    ) -> int:
        """A convolution with its norm folded: weight and bias of its own."""
        return self.place(x, self.kernel(self.shape(x)[3], outputs, size, depthwise), None, stride, active=active)

    def place(
        self, x: int, kernel: np.ndarray, bias: np.ndarray | None, stride: int = 1, *, active: bool = True
    ) -> int:
        """A convolution with this kernel, depthwise where its first side is 1 and its last the map's."""
        _, height, width, channels = self.shape(x)
        depthwise = len(kernel) == 1 and kernel.shape[3] == channels
        outputs = channels if depthwise else len(kernel)
        bias = self.random.normal(0, 0.5, outputs) if bias is None else bias
        shape = (1, -(-height // stride), -(-width // stride), outputs)
        inputs = (x, self.constant(kernel), self.constant(bias))
        kind, activation = "depthwise" if depthwise else "conv", "relu6" if active else "none"
        return self.add(kind, inputs, shape, padding="same", strides=(stride, stride), activation=activation)

    def mobilenet_v1(self, width: float = 1.0) -> list[int]:
        """The outputs of all its blocks."""
        maps = [self.conv(0, _depth(32, width), 3, 2)]
        for channels, stride in V1_BLOCKS:
            wide = self.conv(maps[-1], 0, 3, stride, depthwise=True)
            maps.append(self.conv(wide, _depth(channels, width), 1))
        return maps

    def mobilenet_v2(self) -> tuple[list[int], list[int]]:
        """The outputs and the expansions of all its blocks; the last output is that of the 1x1 behind them."""
        outputs, expansions = [self.conv(0, 32, 3, 2)], [0]
        for channels, count, first in V2_BLOCKS:
            for number in range(count):
                x, stride = outputs[-1], first if number == 0 else 1
                wide = self.conv(x, 6 * self.shape(x)[3], 1) if len(outputs) > 1 else x
                expansions.append(wide)
                y = self.conv(self.conv(wide, 0, 3, stride, depthwise=True), channels, 1, active=False)
                same = stride == 1 and self.shape(x) == self.shape(y)
                outputs.append(self.add("add", (x, y), self.shape(y)) if same else y)
        return [*outputs, self.conv(outputs[-1], 1280, 1)], expansions

    def double(self, x: int, how: str) -> int:
        """Every cell of a map twice along both sides, in one of the ways in which files of different age do it."""
        _, height, width, channels = self.shape(x)
        wanted = (1, 2 * height, 2 * width, channels)
        if how == "resize_nearest":
            return self.add(how, (x, self.constant(np.array(wanted[1:3]))), wanted)
        if how == "mul":
            x = self.add("reshape", (x,), (1, height, 1, width, 1, channels))
            ones = self.constant(np.ones((1, 1, 2, 1, 2, 1)))
            x = self.add("mul", (x, ones), (1, height, 2, width, 2, channels))
            return self.add("reshape", (x,), wanted)
        x = self.add("pack", (x, x), (1, height, width, 2, channels))
        x = self.add("pack", (x, x), (1, height, 2, width, 2, channels))
        return self.add("reshape", (x,), wanted)

    def finish(
        self, boxes: list[int], classes: list[int], columns: int, priors: np.ndarray, options: dict[str, float]
    ) -> Graph:
        """The predictors of all levels to the post-processing; `priors` are cy, cx, h, w."""
        flat = []
        for maps, numbers in ((boxes, 4), (classes, columns)):
            rows = [(x, math.prod(self.shape(x)) // numbers) for x in maps]
            parts = [self.add("reshape", (x,), (1, count, numbers)) for x, count in rows]
            flat.append(self.add("concatenation", parts, (1, sum(count for _, count in rows), numbers)))
        scores = self.add("softmax" if "softmax" in options else "logistic", (flat[1],), self.shape(flat[1]))
        given = {**SCALES, "nms_iou_threshold": 0.6, "num_classes": columns - 1, **options}
        self.add("TFLite_Detection_PostProcess", (flat[0], scores, self.constant(priors)), (), options=given)
        return Graph(tuple(self.values), tuple(self.operators), (0,))


def make_ssd(plan: Ssd) -> Graph:
    """object_detection's SSD with `multi_resolution_feature_maps` and `ConvolutionalBoxPredictor`."""
    make = Maker(plan.size)
    if plan.trunk == 1:
        blocks = make.mobilenet_v1(plan.width)
        maps = [blocks[11], blocks[13]]
    else:
        outputs, expansions = make.mobilenet_v2()
        maps = [expansions[14], outputs[-1]]
    for channels in (512, 256, 256, 128):
        x = make.conv(maps[-1], _depth(channels / 2, plan.width), 1)
        if plan.separable_extras:
            x = make.conv(make.conv(x, 0, 3, 2, depthwise=True), _depth(channels, plan.width), 1)
        else:
            x = make.conv(x, _depth(channels, plan.width), 3, 2)
        maps.append(x)
    boxes, classes = [], []
    for level, x in enumerate(maps):
        for found, numbers in ((boxes, 4), (classes, plan.columns)):
            y = make.conv(x, 0, 3, depthwise=True) if plan.separable_head else x
            shapes = 3 if level == 0 else 6
            found.append(make.conv(y, shapes * numbers, 1 if plan.separable_head else plan.kernel, active=False))
    priors = ssd_priors([make.shape(x)[1:3] for x in maps], plan.aspect)
    return make.finish(boxes, classes, plan.columns, priors, plan.options)


def make_pyramid(plan: Pyramid) -> Graph:
    """object_detection's feature pyramids with `WeightSharedConvolutionalBoxPredictor`."""
    make = Maker(plan.size)
    if plan.trunk == 1:
        blocks = make.mobilenet_v1()
        taps = [blocks[5], blocks[11], blocks[13]]
    else:
        outputs, _ = make.mobilenet_v2()
        taps = [outputs[6], outputs[13], outputs[-1]]

    def block(x: int, stride: int = 1) -> int:
        if not plan.lite:
            return make.conv(x, plan.channels, 3, stride)
        kernel = make.kernel(make.shape(x)[3], 0, 3, depthwise=True)
        return make.conv(make.place(x, kernel, np.zeros(plan.channels), stride, active=False), plan.channels, 1)

    laterals = [make.conv(x, plan.channels, 1, active=False) for x in taps]
    maps, carried = [laterals[2]], laterals[2]
    for level in (1, 0):
        larger = make.double(carried, plan.resize)
        total = make.add("add", (larger, laterals[level]), make.shape(laterals[level]))
        maps.insert(0, block(total))
        carried = maps[0] if plan.smoothed else total
    for _ in range(2):
        maps.append(block(maps[-1], 2))
    towers = [shared_tower(make, maps, plan)]
    towers.append(towers[0] if plan.lite else shared_tower(make, maps, plan))
    boxes, classes = (
        shared(make, tower, 6 * numbers, plan.lite, last=True)
        for tower, numbers in zip(towers, (4, plan.columns), strict=True)
    )
    priors = pyramid_priors([make.shape(x)[1:3] for x in maps], plan.size)
    return make.finish(boxes, classes, plan.columns, priors, plan.options)


def shared_tower(make: Maker, maps: list[int], plan: Pyramid) -> list[int]:
    """Four convolutions that all levels share."""
    for _ in range(4):
        maps = shared(make, maps, plan.channels, plan.lite)
    return maps


def shared(make: Maker, maps: list[int], outputs: int, lite: bool, last: bool = False) -> list[int]:
    """One convolution on all levels: folded with the norm of each, or as it is with one bias (`last`)."""
    inputs = make.shape(maps[0])[3]
    spatial = make.kernel(inputs, 0, 3, depthwise=True)
    kernel = make.kernel(inputs, outputs, 1 if lite else 3)
    bias, results = make.random.normal(0, 0.5, outputs), []
    for x in maps:
        if lite:
            x = make.place(x, spatial, np.zeros(inputs), active=False)
        factor = 1.0 if last else make.random.uniform(0.5, 1.5, (outputs, 1, 1, 1)) * make.random.choice([-1, 1])
        results.append(make.place(x, kernel * factor, bias if last else None, active=not last))
    return results


def ssd_priors(sizes: Sequence[tuple[int, ...]], aspect: float = 2.0) -> np.ndarray:
    """cy, cx, h, w of `create_ssd_anchors` with its usual ratios, of which the first may be another than 2."""
    scales = [0.2 + 0.15 * level for level in range(6)] + [1.0]
    rows = []
    for level, (height, width) in enumerate(sizes):
        pairs = [(scales[level], ratio) for ratio in (1.0, aspect, 1 / aspect, 3.0, 0.3333)]
        pairs.append((math.sqrt(scales[level] * scales[level + 1]), 1.0))
        pairs = pairs if level else [(0.1, 1.0), (0.2, aspect), (0.2, 1 / aspect)]
        for y in range(height):
            for x in range(width):
                for scale, ratio in pairs:
                    side = math.sqrt(ratio)
                    rows.append(((y + 0.5) / height, (x + 0.5) / width, scale / side, scale * side))
    return np.array(rows)


def pyramid_priors(sizes: Sequence[tuple[int, ...]], size: int) -> np.ndarray:
    """cy, cx, h, w of `MultiscaleGridAnchorGenerator`."""
    rows = []
    for level, (height, width) in enumerate(sizes):
        step = 2 ** (level + 3)
        offset = 0.0 if size % step else step / 2
        for y in range(height):
            for x in range(width):
                for ratio in (1.0, 2.0, 0.5):
                    for octave in (1.0, math.sqrt(2)):
                        side, root = 4 * step * octave, math.sqrt(ratio)
                        rows.append((y * step + offset, x * step + offset, side / root, side * root))
    return np.array(rows) / size


def shuffled(graph: Graph, seed: int) -> Graph:
    """The same graph with its operators in another order in which each stands behind those that feed it."""
    random = np.random.default_rng(seed)
    known = set(graph.inputs) | {i for i, value in enumerate(graph.values) if value.constant is not None}
    left, order = list(graph.operators), []
    while left:
        ready = [operator for operator in left if known.issuperset(operator.inputs)]
        order.append(ready[random.integers(len(ready))])
        left.remove(order[-1])
        known.update(order[-1].outputs)
    return replace(graph, operators=tuple(order))


def run(graph: Graph, image: Tensor) -> tuple[Tensor, Tensor]:
    """(logits, offsets as dy, dx, dh, dw) by running the operators one after the other; `image` is [1, h, w, 3]."""
    known: dict[int, Tensor] = {graph.inputs[0]: image}
    for operator in graph.operators[:-1]:
        given = [known[i] for i in operator.inputs if i in known]
        shape = graph.values[operator.outputs[0]].shape
        known[operator.outputs[0]] = _result(graph, operator, given, shape).reshape(shape)
    offsets, scores, _ = graph.operators[-1].inputs
    logits = next(o.inputs[0] for o in graph.operators if o.outputs == (scores,))
    return known[logits], known[offsets]


def _result(graph: Graph, operator: Operator, given: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    """What one operator makes of its maps."""
    if operator.kind in ("conv", "depthwise"):
        return _convolve(graph, operator, given[0])
    if operator.kind == "add":
        return given[0] + given[1]
    if operator.kind == "pack":  # doubles rows or columns: the axis is where the shape has grown
        return torch.stack([given[0]] * 2, dim=3 if len(shape) == 5 else 2)
    if operator.kind == "mul":
        return given[0] * torch.from_numpy(graph.constant(operator.inputs[1]))
    if operator.kind == "resize_nearest":
        return given[0].repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    return torch.cat(given, dim=1) if operator.kind == "concatenation" else given[0]


def _convolve(graph: Graph, operator: Operator, x: Tensor) -> Tensor:
    """One convolution on a map [1, h, w, c], in float32, with its activation."""
    kernel = torch.from_numpy(graph.constant(operator.inputs[1]))
    depthwise = operator.kind == "depthwise"
    weight = kernel.permute(3, 0, 1, 2) if depthwise else kernel.permute(0, 3, 1, 2)
    x = x.permute(0, 3, 1, 2)
    if operator.padding == "same":
        x = _same(x, weight.shape[-1], operator.strides[0])
    bias = torch.from_numpy(graph.constant(operator.inputs[2]))
    x = F.conv2d(x, weight, bias, operator.strides, groups=len(weight) if depthwise else 1)
    limits = graph.values[operator.outputs[0]].range
    if operator.activation == "relu6" or (limits is not None and limits[0] == 0):
        x = x.clamp(0, 6)
    return x.permute(0, 2, 3, 1)


def _same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's 'same' padding of [n, c, h, w]."""
    pads: list[int] = []
    for side in (x.shape[3], x.shape[2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def _depth(channels: float, width: float) -> int:
    """object_detection's channels of a layer."""
    return max(int(channels * width), 16)
