"""MindSpore's .ckpt files: every type and shape, parameters in pieces, and damaged files in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mindspore_files import checkpoint, entry
from multibox.errors import ModelError
from multibox.weights.importers import caffemodel, mindspore
from multibox.weights.source import load_weights

STATE = {
    "conv.weight": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)),
    "double": torch.tensor([1.5, -2.0], dtype=torch.float64),
    "half": torch.tensor([[0.5, 2.0]], dtype=torch.float16),
    "brain": torch.tensor([0.25, -3.0], dtype=torch.bfloat16),
    "count": torch.tensor([1, -(2**40)], dtype=torch.int64),
    "small": torch.tensor([-7, 7], dtype=torch.int32),
    "bytes": torch.tensor([0, 255], dtype=torch.uint8),
    "flags": torch.tensor([True, False]),
    "number": torch.tensor(3.25),
    "a name of more than a hundred and twenty-seven letters." + "x" * 100: torch.zeros(1),
}


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "theirs.ckpt"
    path.write_bytes(data)
    return path


def read(tmp_path: Path, data: bytes) -> dict[str, Tensor]:
    return mindspore.read(written(tmp_path, data)).state


@pytest.mark.parametrize("options", [{}, {"piece": 16}, {"piece": 1}, {"checksum": True}], ids=str)
def test_what_is_written_is_read(options: dict[str, int], tmp_path: Path) -> None:
    data = checkpoint(STATE, **options)
    state = read(tmp_path, data)
    assert list(state) == list(STATE)
    assert mindspore.looks_like(data[:4096])
    for name, tensor in STATE.items():
        wanted = tensor.float() if name in ("half", "brain") else tensor
        assert state[name].dtype == wanted.dtype and torch.equal(state[name], wanted), name


def test_a_single_number_may_be_written_without_any_size(tmp_path: Path) -> None:
    assert read(tmp_path, entry("a", [], "Float32", b"\0\0\x80\x3f"))["a"].shape == ()


def test_states_of_optimisers_notes_and_generators_are_left_out(tmp_path: Path) -> None:
    others = {name: torch.zeros(2) for name in ("moments.conv.weight", "learning_rate", "global_step", "scale_sense")}
    note = entry("note", [0], "str", "a note".encode("utf-32-le"))
    random = entry("random_op", [0], "random_op", b"1234567")
    state = read(tmp_path, note + checkpoint({**others, "momentum.weight": torch.ones(1), **STATE}) + random)
    assert list(state) == list(STATE)


def test_a_file_of_nothing_else_holds_no_network(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"theirs\.ckpt: not a whole MindSpore checkpoint \(no parameter"):
        read(tmp_path, checkpoint({"learning_rate": torch.zeros(1)}))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.99])
def test_a_file_that_is_cut_off_is_one_sentence(share: float, tmp_path: Path) -> None:
    data = checkpoint({"conv.weight": torch.zeros(512, 64)}, piece=30_000)
    with pytest.raises(ModelError, match=r"theirs\.ckpt: not a whole MindSpore checkpoint .*copy it again"):
        load_weights(written(tmp_path, data[: int(len(data) * share)]))


def test_a_parameter_that_lacks_a_piece_is_named(tmp_path: Path) -> None:
    lacking = entry("conv.weight", [4, 4], "Float32", bytes(32))
    with pytest.raises(ModelError, match=r"'conv\.weight' has 32 bytes, its shape \[4, 4\] needs 64"):
        read(tmp_path, lacking)


def test_a_checksum_that_does_not_agree_is_said(tmp_path: Path) -> None:
    data = bytearray(checkpoint(STATE, checksum=True))
    data[40] ^= 1
    with pytest.raises(ModelError, match="checksum"):
        read(tmp_path, bytes(data))


def test_an_unknown_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'w' is of type 'Complex64'"):
        read(tmp_path, entry("w", [1], "Complex64", bytes(8)))


def test_damaged_bytes_are_one_sentence_or_other_numbers_but_never_another_error(tmp_path: Path) -> None:
    data = np.frombuffer(checkpoint(STATE), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(100):
        damaged = data.copy()
        damaged[rng.integers(0, len(data), 5)] = rng.integers(0, 256, 5)
        try:
            read(tmp_path, damaged.tobytes())
        except ModelError as error:
            assert "theirs.ckpt" in str(error)


def test_other_protocol_buffers_are_not_taken_for_one_nor_this_for_another() -> None:
    network_of_caffe = b"\x0a\x0bVGG_SSD_300\xa2\x06\x0d\x0a\x05conv1\x12\x04Conv"
    assert not mindspore.looks_like(network_of_caffe)
    assert not caffemodel.looks_like(checkpoint(STATE)[:4096])
    for head in (b"", b"\x0a", b"\x0a\x80", b"\x0a\x05\x0a", b"\x0a\x05\x0a\x02\x00\x01\x12", b"PK\x03\x04"):
        assert not mindspore.looks_like(head)


def test_a_checkpoint_of_another_network_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"theirs\.ckpt: no importer knows these 10 tensors"):
        load_weights(written(tmp_path, checkpoint(STATE)))
