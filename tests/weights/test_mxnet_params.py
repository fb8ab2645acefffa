"""MXNet's files: arrays of every version come back as they were written, and damaged files are one sentence."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from multibox.errors import ModelError
from multibox.weights import archives
from multibox.weights.importers import mxnet_params
from multibox.weights.source import load_weights
from mxnet_files import TYPES, array_bytes, list_bytes, write_params

ARRAYS = {
    "features.stages.0.0.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "half": np.array([0.5, -2.0], np.float16),
    "count": np.array([[7]], np.int64),
}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_arrays_of_every_version_come_back_bit_by_bit(tmp_path: Path, version: int) -> None:
    foreign = mxnet_params.read(write_params(tmp_path / "net.params", ARRAYS, version))
    assert foreign.about == {"format": "mxnet"}
    assert list(foreign.state) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(foreign.state[name].numpy(), array, strict=True)


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_of_number_is_read(tmp_path: Path, kind: str) -> None:
    array = np.array([[0, 1, 1]]).astype(kind)
    state = mxnet_params.read(write_params(tmp_path / "net.params", {"a": array})).state
    np.testing.assert_array_equal(state["a"].numpy(), array, strict=True)


def test_the_prefixes_of_an_exported_symbol_are_taken_off(tmp_path: Path) -> None:
    given = {"arg:ssd0_conv0_weight": np.ones(2, np.float32), "aux:ssd0_bn_moving_mean": np.zeros(2, np.float32)}
    state = mxnet_params.read(write_params(tmp_path / "net-0000.params", given)).state
    assert list(state) == ["ssd0_conv0_weight", "ssd0_bn_moving_mean"]


def test_arrays_without_axes_are_numbers_in_version_3_and_nothing_before(tmp_path: Path) -> None:
    nothing = struct.pack("<Iii", 0xF993FAC9, 0, 0)  # it ends after its shape
    number, plain = array_bytes(np.array(3.0, np.float32), 3), array_bytes(np.ones(2, np.float32))
    path = tmp_path / "net.params"
    path.write_bytes(list_bytes([nothing, number, plain], ["nothing", "number", "plain"]))
    state = mxnet_params.read(path).state
    assert list(state) == ["number", "plain"] and state["number"].shape == () and state["number"].item() == 3.0


def test_the_archive_that_gluoncv_publishes_is_read_as_its_file(tmp_path: Path) -> None:
    inner = write_params(tmp_path / "net-0123abcd.params", ARRAYS)
    path = tmp_path / "net-0123abcd.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(inner, inner.name)
    assert archives.weights_inside(path) == inner.name
    (tmp_path / "out").mkdir()
    assert archives.take_out(path, inner.name, tmp_path / "out").read_bytes() == inner.read_bytes()
    refused(path, rf"net-0123abcd\.zip \({inner.name}\): ")  # its arrays are of no codebase
    path.write_bytes(path.read_bytes()[:-30])
    refused(path, "cut off or damaged")


def test_an_archive_with_two_files_is_one_sentence(tmp_path: Path) -> None:
    inner = write_params(tmp_path / "net.params", ARRAYS)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.write(inner, "a.params")
        archive.write(inner, "b.params")
    refused(tmp_path / "two.zip", "holds 2 files with weights")


def test_a_file_that_is_cut_off_anywhere_is_one_sentence(tmp_path: Path) -> None:
    data = write_params(tmp_path / "net.params", ARRAYS).read_bytes()
    for size in range(len(data)):
        (tmp_path / "cut.params").write_bytes(data[:size])
        with pytest.raises(ModelError, match=r"cut\.params: (cut off|not a)"):
            mxnet_params.read(tmp_path / "cut.params")
    refused(write_params(tmp_path / "net.params", {}), "holds no arrays")


def test_damaged_bytes_are_one_sentence_or_other_numbers_but_never_another_error(tmp_path: Path) -> None:
    data = np.frombuffer(write_params(tmp_path / "net.params", ARRAYS).read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = data.copy()
        damaged[rng.integers(8, len(data), 3)] = rng.integers(0, 256, 3)
        (tmp_path / "broken.params").write_bytes(damaged.tobytes())
        try:
            mxnet_params.read(tmp_path / "broken.params")
        except ModelError as error:
            assert "broken.params" in str(error)


PLAIN = array_bytes(np.ones(2, np.float32))
OTHERS = {
    "sparse": (list_bytes([array_bytes(np.ones(2, np.float32), storage=1)], ["a"]), "sparse arrays"),
    "older": (list_bytes([struct.pack("<I", 4) + bytes(60)], ["a"]), "unknown version 0x4"),
    "unnamed": (list_bytes([PLAIN], []), "1 arrays but 0 names"),
    "foreign": (list_bytes([PLAIN], ["a"]), "no importer knows these 1 tensors"),
}


@pytest.mark.parametrize(("data", "words"), OTHERS.values(), ids=OTHERS)
def test_files_of_other_kinds_are_one_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "net.params").write_bytes(data)
    refused(tmp_path / "net.params", words)


def refused(path: Path, words: str) -> None:
    """Loading names the file and says so."""
    with pytest.raises(ModelError, match=words) as caught:
        load_weights(path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)
