"""Checkpoints come back as they were written, and files that are not what they seem are one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.spec import ModelSpec
from multibox.weights import checkpoint
from multibox.weights.source import load_weights
from multibox.zoo import load_spec


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return load_spec("ssdlite320_mobilenet_v3_large").with_names(("cat", "dog"), (17, 18))


@pytest.fixture(scope="module")
def state(spec: ModelSpec) -> dict[str, torch.Tensor]:
    return build_model(spec).state_dict()


def test_a_checkpoint_comes_back_bit_by_bit(tmp_path: Path, spec: ModelSpec, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "best.safetensors"
    checkpoint.save(path, state, spec, metrics={"AP": 0.25}, training={"epochs": 3})
    loaded = checkpoint.load(path)
    assert loaded.spec == spec and loaded.metrics == {"AP": 0.25} and loaded.training == {"epochs": 3}
    assert loaded.state.keys() == state.keys()
    assert all(torch.equal(loaded.state[key], state[key]) for key in state)
    assert [p.name for p in tmp_path.iterdir()] == ["best.safetensors"]


def test_tied_and_strided_tensors_are_saved(tmp_path: Path, spec: ModelSpec) -> None:
    base = torch.arange(6.0).view(2, 3)
    checkpoint.save(tmp_path / "x.safetensors", {"a": base, "b": base, "c": base.T}, spec)
    loaded = checkpoint.load(tmp_path / "x.safetensors").state
    assert torch.equal(loaded["a"], base) and torch.equal(loaded["c"], base.T)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, spec: ModelSpec) -> None:
    with pytest.raises(ModelError, match="cannot be written"):
        checkpoint.save(tmp_path / "absent" / "x.safetensors", {"a": torch.zeros(1)}, spec)


def test_our_file_is_known_by_content_not_by_name(tmp_path: Path, spec: ModelSpec) -> None:
    path = tmp_path / "weights.pth"
    checkpoint.save(path, {"a": torch.zeros(1)}, spec)
    assert load_weights(path).spec == spec


@pytest.mark.parametrize("keep", [0, 5, 200, 5000])
def test_a_truncated_checkpoint_is_one_sentence(
    tmp_path: Path, spec: ModelSpec, state: dict[str, torch.Tensor], keep: int
) -> None:
    whole, part = tmp_path / "whole.safetensors", tmp_path / "part.safetensors"
    checkpoint.save(whole, state, spec)
    part.write_bytes(whole.read_bytes()[:keep])
    _refused(part, "part.safetensors")


@pytest.mark.parametrize("keep", [100, 5000])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_torch_checkpoint_is_one_sentence(tmp_path: Path, keep: int, zipped: bool) -> None:
    path = tmp_path / "net.pth"
    torch.save({"a": torch.zeros(10_000)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:keep])
    _refused(path, "cut off or damaged")


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (os.environ["MULTIBOX_TEST_EVIL"],)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_runs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    target = tmp_path / "made_by_the_pickle"
    monkeypatch.setenv("MULTIBOX_TEST_EVIL", str(target))
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": _Evil()}, path, _use_new_zipfile_serialization=zipped)
    _refused(path, "Python objects besides tensors")
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch.zeros(3), "not a state dict"),
        ({"epoch": 3}, "holds no tensors"),
        ({"layer1.weight": torch.zeros(3)}, "no importer knows these 1 tensors"),
    ],
)
def test_a_foreign_torch_checkpoint_is_one_sentence(tmp_path: Path, content: object, words: str) -> None:
    torch.save(content, tmp_path / "net.pth")
    _refused(tmp_path / "net.pth", words)


def test_files_of_other_kinds_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    _refused(tmp_path / "photo.jpg", "not a weights file")
    _refused(tmp_path, "cannot be read")
    _refused(tmp_path / "absent.pth", "No such file")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    _refused(tmp_path / "other.safetensors", "no importer knows these 1 tensors")


def _refused(path: Path, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
