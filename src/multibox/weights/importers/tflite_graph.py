"""A TensorFlow Lite file as a list of operators with dequantised constants: the graph that `tflite.py` walks.

Source: `tensorflow/lite/schema/schema.fbs`; the numbers below are its field numbers and enum values. Tensors are in
TensorFlow's layout: maps [n, h, w, c], weights [out, kh, kw, in], depthwise weights [1, kh, kw, channels].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multibox.errors import ModelError
from multibox.weights.importers.flatbuffer import FlexValue, Table, read_flex

_DTYPES = {0: "f4", 1: "f2", 2: "i4", 3: "u1", 4: "i8", 6: "?", 7: "i2", 9: "i1"}
_CODES = {
    0: "add",
    2: "concatenation",
    3: "conv",
    4: "depthwise",
    6: "dequantize",
    14: "logistic",
    18: "mul",
    22: "reshape",
    25: "softmax",
    32: "custom",
    43: "squeeze",
    45: "strided_slice",
    69: "tile",
    83: "pack",
    97: "resize_nearest",
    114: "quantize",
}
_PADDINGS = {0: "same", 1: "valid"}
_ACTIVATIONS = {0: "none", 1: "relu", 3: "relu6"}
_OPTIONS = {"conv": (3, 4), "depthwise": (4, 5)}
"""Field numbers of the fused activation and of the first dilation in the options of each kind of convolution."""
_FUSED = {"add": 0, "mul": 0, "concatenation": 1}
"""Field numbers of the fused activation of others, which must have none."""


@dataclass(frozen=True)
class Value:
    """One tensor of the graph: a constant, dequantised where it was quantised, or a map (`constant` is None)."""

    name: str
    shape: tuple[int, ...]
    constant: NDArray[np.generic] | None
    range: tuple[float, float] | None
    """The lowest and highest number that the tensor's quantisation can express; none where it is not quantised."""
    scale: float | None = None
    """The step between such numbers where one holds for the whole tensor."""


@dataclass(frozen=True)
class Operator:
    """One operator: indexes of its values, and what its options say (strides as height, width)."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    padding: str = ""
    strides: tuple[int, int] = (1, 1)
    activation: str = "none"
    options: dict[str, FlexValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """The first subgraph of a file."""

    values: tuple[Value, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]

    def constant(self, index: int) -> NDArray[np.float32]:
        """The constant of value `index` as float32. Raises `ModelError` where it is none."""
        constant = self.values[index].constant
        if constant is None:
            raise ModelError(f"tensor '{self.values[index].name}' should be a constant")
        return constant.astype(np.float32)


def read_graph(path: Path) -> Graph:
    """The graph of a .tflite file. Raises `ModelError` naming the file for anything that is not one."""
    try:
        return _read(Table.root(path.read_bytes(), b"TFL3"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except (ModelError, IndexError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: not a readable TensorFlow Lite file ({error})") from None


def _read(model: Table) -> Graph:
    """The first subgraph with its constants."""
    codes = [_kind(code) for code in model.tables(1)]
    buffers = model.tables(4)
    subgraph = model.tables(2)[0]
    values = tuple(_value(tensor, buffers) for tensor in subgraph.tables(0))
    operators = tuple(_operator(operator, codes) for operator in subgraph.tables(3))
    return Graph(values, operators, _indexes(subgraph, 1))


def _kind(code: Table) -> str:
    """What an operator code means: our word, the custom operator's own name, or its number where we know no word.

    Codes up to 127 stand in an old byte field (0); newer writers fill field 3 too, older ones leave it absent.
    """
    builtin = max(code.integer(0, "b"), code.integer(3, "i"))
    kind = _CODES.get(builtin, str(builtin))
    return code.text(1) if kind == "custom" else kind


def _indexes(table: Table, index: int) -> tuple[int, ...]:
    """A vector of int32 as plain integers."""
    return tuple(int(i) for i in table.array(index, "i4").tolist())


def _value(tensor: Table, buffers: list[Table]) -> Value:
    """One tensor; its constant is dequantised by `scale * (stored - zero_point)`, per tensor or along one axis."""
    shape, kind, name = _indexes(tensor, 0), tensor.integer(1, "b"), tensor.text(3)
    if kind not in _DTYPES:
        raise ModelError(f"tensor '{name}' is of type {kind}, which is not read")
    raw = buffers[tensor.integer(2, "I")].array(0, "u1")
    dtype = np.dtype(_DTYPES[kind]).newbyteorder("<")
    stored = raw.view(dtype).reshape(shape) if raw.size else None
    quantisation = tensor.table(4)
    scale = np.zeros(0) if quantisation is None else quantisation.array(2, "f4").astype(np.float64)
    if quantisation is None or not scale.size:
        return Value(name, shape, stored, None)
    zero = quantisation.array(3, "i8").astype(np.float64)
    if stored is not None:
        axis = [1] * len(shape)
        if scale.size > 1:
            axis[quantisation.integer(6, "i")] = scale.size
        stored = ((stored.astype(np.float64) - zero.reshape(axis)) * scale.reshape(axis)).astype(np.float32)
    limits = _range(dtype, float(scale[0]), float(zero[0]))
    return Value(name, shape, stored, limits, float(scale[0]) if limits is not None and scale.size == 1 else None)


def _range(dtype: np.dtype[np.generic], scale: float, zero: float) -> tuple[float, float] | None:
    """What numbers an integer tensor of this scale and zero point can express."""
    if dtype.kind not in "iu":
        return None
    limits = np.iinfo(dtype.str)
    return (float(limits.min) - zero) * scale, (float(limits.max) - zero) * scale


def _operator(operator: Table, codes: list[str]) -> Operator:
    """One operator with those of its options that we look at."""
    kind = codes[operator.integer(0, "I")]
    inputs, outputs = _indexes(operator, 1), _indexes(operator, 2)
    options = operator.table(4)
    if kind in _OPTIONS and options is not None:
        fused, dilation = _OPTIONS[kind]
        if options.integer(dilation, "i", 1) != 1 or options.integer(dilation + 1, "i", 1) != 1:
            raise ModelError("dilated convolutions are not read")
        strides = (options.integer(2, "i"), options.integer(1, "i"))
        padding, activation = _PADDINGS[options.integer(0, "b")], _ACTIVATIONS[options.integer(fused, "b")]
        return Operator(kind, inputs, outputs, padding, strides, activation)
    if kind in _FUSED and options is not None and options.integer(_FUSED[kind], "b"):
        raise ModelError(f"an operator '{kind}' has an activation, which is not read")
    custom = operator.array(5, "u1").tobytes()
    flex = read_flex(custom) if custom else None
    return Operator(kind, inputs, outputs, options=flex if isinstance(flex, dict) else {})
