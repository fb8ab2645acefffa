"""The reader of protocol buffers reads what Google's own writer writes, and refuses what is none in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from multibox.errors import ModelError
from multibox.weights.importers.protobuf import by_number, fields, floats, integers, messages, text

DIMS, DATA_TYPE, FLOATS, NAME, DOUBLES = 1, 2, 4, 8, 10
"""Numbers of fields in onnx's TensorProto."""


def _tensor(kind: int, values: list[float]) -> bytes:
    tensor: bytes = helper.make_tensor("a name", kind, [2, len(values) // 2], values).SerializeToString()
    return tensor


def test_a_message_of_another_writer_comes_back() -> None:
    values = [0.5, -1.5, 3e-30, 7.0]
    message = by_number(_tensor(TensorProto.FLOAT, values))
    assert integers(message[DIMS]) == [2, 2] and integers(message[DATA_TYPE]) == [TensorProto.FLOAT]
    assert text(message[NAME][0]) == "a name"
    assert floats(message[FLOATS]).tolist() == np.float32(values).tolist()
    assert floats(by_number(_tensor(TensorProto.DOUBLE, values))[DOUBLES], "<f8").tolist() == values


def test_messages_within_messages_are_read() -> None:
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="one")], "two", [], [])
    inner = messages(by_number(graph.SerializeToString())[1])[0]
    assert text(by_number(inner)[3][0]) == "one" and text(by_number(graph.SerializeToString())[2][0]) == "two"


def test_packed_numbers_and_single_ones_are_the_same() -> None:
    one, two = np.float32(1.5).tobytes(), np.float32(-2).tobytes()
    forms = [b"\x0a\x08" + one + two, b"\x0d" + one + b"\x0d" + two, b"\x0d" + one + b"\x0a\x04" + two]
    assert all(floats(by_number(form)[1]).tolist() == [1.5, -2.0] for form in forms)
    forms = [b"\x0a\x03\x01\xac\x02", b"\x08\x01\x08\xac\x02", b"\x08\x01\x0a\x02\xac\x02"]
    assert all(integers(by_number(form)[1]) == [1, 300] for form in forms)
    assert floats([]).tolist() == [] and integers([]) == []


def test_numbers_of_64_bits_are_read() -> None:
    assert next(fields(b"\x08" + b"\xff" * 9 + b"\x01")).value == 2**64 - 1


def test_every_part_of_a_message_is_one_sentence_or_whole_fields() -> None:
    whole = _tensor(TensorProto.FLOAT, [1.0, 2.0])
    known = [field.number for field in fields(whole)]
    for size in range(len(whole)):
        try:
            assert [field.number for field in fields(whole[:size])] == known[: len(list(fields(whole[:size])))]
        except ModelError as error:
            assert str(error).startswith("cut off")


def test_of_the_beginning_of_a_message_the_last_field_is_what_is_there() -> None:
    (field,) = fields(b"\x0a\x7fabc", beginning=True)
    assert field.number == 1 and text(field.value) == "abc"


@pytest.mark.parametrize("message", [b"\x00\x01", b"\x0b", b"\x0c", b"\x0e\x01", b"\x08" + b"\xff" * 11])
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(ModelError, match="not a protocol buffer"):
        list(fields(message))


def test_values_of_another_kind_are_refused() -> None:
    with pytest.raises(ModelError, match="a number stands where bytes should"):
        text(by_number(b"\x08\x01")[1][0])
    with pytest.raises(ModelError, match="3 bytes do not make whole numbers of 4 bytes"):
        floats(by_number(b"\x0a\x03abc")[1])
