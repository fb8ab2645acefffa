"""Which format, head, precision and storage go together; the rest is refused in one sentence that names what does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from multibox.errors import UsageError
from multibox.exporting.order import KINDS, Format, make_order
from multibox.prediction.engines import RUNTIMES


def test_every_format_has_a_kind_and_every_ending_a_runtime():
    assert set(KINDS) == set(get_args(Format))
    assert {kind.ending for kind in KINDS.values()} == set(RUNTIMES)
    assert all(kind.precisions[0] == "fp32" for kind in KINDS.values())


@pytest.mark.parametrize("format", get_args(Format))
def test_what_is_not_said_is_what_the_format_can_do(format: Format):
    order = make_order(format)
    assert order.head == ("nms" if format in ("onnx", "openvino") else "decoded")
    assert order.batch == (None if format in ("onnx", "openvino", "torch") else 1)
    assert (order.precision, order.stored, order.computed) == ("fp32", "fp32", "fp32")


def test_openvinos_half_precision_is_one_of_storage():
    order = make_order("openvino", precision="fp16")
    assert (order.stored, order.computed) == ("fp16", "fp32")
    assert make_order("onnx", precision="fp16").computed == "fp16"
    assert make_order("openvino", precision="bf16").computed == "bf16"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"format": "torch", "head": "nms"}, "torch files have no head 'nms'; they have decoded or raw"),
        ({"format": "onnx", "precision": "bf16"}, "bf16 is what openvino or torch can have"),
        ({"format": "litert", "precision": "fp16"}, "litert files have no precision 'fp16', only fp32"),
        ({"format": "openvino", "storage": "fp16"}, "use --precision fp16"),
        ({"format": "onnx", "precision": "fp16", "storage": "int8"}, "ONNX files of precision fp32"),
        ({"format": "onnx", "precision": "int8"}, "--calibrate"),
        ({"format": "onnx", "calibration": Path("photos")}, "--calibrate is for --precision int8"),
        ({"format": "onnx", "precision": "int8", "calibration": Path("x"), "head": "raw"}, "--head decoded"),
        ({"format": "litert", "batch": "dynamic"}, "litert files take a fixed number of images"),
        ({"format": "onnx", "batch": 0}, "batch is 0"),
        ({"format": "onnx", "size": (0, 320)}, "size is 0x320"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_does(words: dict[str, Any], sentence: str):
    with pytest.raises(UsageError, match=sentence):
        make_order(**words)
