"""Whatever a file holds instead of a whole model: one sentence that names it, nothing of it runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor

import caffe_files
import mindspore_files
import mxnet_files
from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.sheet import to_json
from multibox.weights import archives, checkpoint, source
from multibox.weights.source import load_weights
from multibox.zoo import load_spec
from multibox.zoo.models import load_model

State = dict[str, Tensor]
SMALL: State = {"conv.weight": torch.arange(512.0).view(8, 8, 8), "conv.bias": torch.ones(8)}
LITE = "ssdlite320_mobilenet_v3_large"


def refused(path: Path, words: str = ".") -> None:
    """The sentence with which the file is refused; it is one line and names the file."""
    with pytest.raises(ModelError, match=words) as caught:
        load_model(path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


def saved(content: object, *, zipped: bool = True) -> bytes:
    """What `torch.save` writes, now or before torch 1.6."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def ours() -> bytes:
    """A checkpoint of our own."""
    spec = json.loads(to_json(load_spec(LITE).with_names(("cat",))))
    return save(SMALL, {checkpoint.KEY: json.dumps({"version": 1, "spec": spec, "metrics": {}, "training": {}})})


def caffemodel() -> bytes:
    """A network of one layer."""
    return caffe_files.network([caffe_files.layer("conv", "Convolution", map(caffe_files.blob, SMALL.values()))])


KINDS: dict[str, Callable[[], bytes]] = {
    "torch.pth": lambda: saved(SMALL),
    "wrapped.pth": lambda: saved({"state_dict": SMALL, "epoch": 3, "meta": {"names": ("cat",)}}),
    "legacy.pth": lambda: saved(SMALL, zipped=False),
    "theirs.safetensors": lambda: save(SMALL),
    "ours.safetensors": ours,
    "theirs.caffemodel": caffemodel,
    "theirs.ckpt": lambda: mindspore_files.checkpoint(SMALL),
    "theirs.params": lambda: mxnet_files.list_bytes(
        [mxnet_files.array_bytes(value.numpy()) for value in SMALL.values()], list(SMALL)
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_every_kind_cut_off_anywhere_is_one_sentence(kind: str, tmp_path: Path) -> None:
    whole, path = KINDS[kind](), tmp_path / kind
    path.write_bytes(whole)
    refused(path, "no importer knows these 2 tensors|does not fit the model")
    sizes = {0, 1, 2, 3, 4, 5, 8, 9, 16, 100, 1000, *range(20, len(whole), len(whole) // 20), len(whole) - 1}
    for size in sorted(sizes):
        path.write_bytes(whole[:size])
        refused(path)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bytes_never_raise_another_error(kind: str, tmp_path: Path) -> None:
    whole, path = np.frombuffer(KINDS[kind](), np.uint8), tmp_path / kind
    rng = np.random.default_rng(0)
    for _ in range(100):
        damaged = whole.copy()
        damaged[rng.integers(0, min(len(whole), 1500), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        refused(path)


def array_archive() -> bytes:
    """NumPy's archive, which is a zip too."""
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


FOREIGN: dict[str, tuple[bytes, str]] = {
    "empty.pth": (b"", "is empty"),
    "zeros.bin": (bytes(5000), "not a weights file"),
    "photo.jpg": (b"\xff\xd8\xff\xe0" + bytes(100), "not a weights file"),
    "photo.png": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a weights file"),
    "notes.txt": (b"epoch 3: loss 1.25\n" * 100, "not a weights file"),
    "table.json": (b'{"images": []}', "not a weights file"),
    "spaced.json": (b'{      "images": []}' * 9, "not a weights file"),
    "brace.txt": (b"abcdefgh{ and some more words", "not a whole safetensors file"),
    "page.html": (b"<!DOCTYPE html><html><body>sign in</body></html>", "not a weights file"),
    "net.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "not a weights file"),
    "net.tar.gz": (b"\x1f\x8b\x08" + bytes(100), "not a weights file"),
    "arrays.npz": (array_archive(), "cut off or damaged, or not a torch checkpoint"),
    "list.pkl": (pickle.dumps([1, 2, 3]), "Python objects besides tensors|damaged"),
    "resnet.pth": (saved({"layer1.0.conv1.weight": torch.zeros(3)}), "no importer knows these 1 tensors"),
    "tensor.pth": (saved(torch.zeros(3)), "holds a Tensor, not a state dict"),
    "epoch.pth": (saved({"epoch": 3}), "holds no tensors"),
    "numbered.pth": (saved({3: torch.zeros(3)}), "holds no tensors"),
    "other.tflite": (b"\x20\x00\x00\x00TFL3" + bytes(40), "tflite"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_kinds_are_one_sentence(name: str, tmp_path: Path) -> None:
    content, words = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, words)


def test_folders_absent_and_locked_files_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(tmp_path, "cannot be read")
    refused(tmp_path / "absent.pth", "cannot be read")
    locked = tmp_path / "locked.pth"
    locked.write_bytes(saved(SMALL))

    def deny(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", deny)
    refused(locked, "cannot be read \\(Permission denied\\)")


@pytest.fixture(scope="module")
def theirs() -> State:
    """A checkpoint of torchvision with two classes."""
    from torchvision.models.detection import ssd300_vgg16

    state: State = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=3).state_dict()
    return state


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "backbone.features.0.weight"}, "layers.0.weight' is missing, 1"),
        (lambda s: {**s, "backbone.features.0.weight": torch.zeros(64, 1, 3, 3)}, r"is \[64, 1, 3, 3\], not \[64, 3, "),
        (lambda s: {**s, "backbone.features.99.weight": torch.zeros(1)}, "layers.99.weight' is unknown, 1 such"),
        (lambda s: {**s, "someone.elses": torch.zeros(1)}, "'someone.elses' is unknown, 1 such"),
        (lambda s: {**s, "head.classification_head.module_list.3.bias": torch.zeros(8)}, r"bias' is \[8\], not \[18\]"),
        (lambda s: {**s, "head.classification_head.module_list.0.bias": torch.zeros(())}, "does not fit"),
        (lambda s: {**s, "backbone.features.0.bias": torch.zeros(64).to_sparse()}, "is no plain tensor"),
        (lambda s: {**s, "backbone.features.0.bias": torch.zeros(64, dtype=torch.complex64)}, "is no plain tensor"),
        (
            lambda s: {**s, "backbone.features.0.bias": torch.quantize_per_tensor(torch.zeros(64), 1, 0, torch.qint8)},
            "is no plain tensor",
        ),
        (
            lambda s: {**s, "backbone.features.0.bias": torch.zeros(1).expand(10**6, 10**6)},
            "1,000,000,000,000 elements",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    theirs: State, tmp_path: Path, change: Callable[[State], State], words: str
) -> None:
    path = tmp_path / "changed.pth"
    path.write_bytes(saved(change(theirs)))
    refused(path, words)


def test_an_importer_that_trips_over_shapes_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.pth").write_bytes(saved(SMALL))
    for trip in (lambda f: f.state["conv.bias"].view(3, 3), lambda f: f.state["absent"], lambda f: 1 // len(f.about)):
        monkeypatch.setattr(source, "IMPORTERS", (trip,))
        refused(tmp_path / "net.pth", "tensors of other shapes than it")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("form", ["torch", "safetensors"])
def test_other_precisions_become_float32(theirs: State, tmp_path: Path, dtype: torch.dtype, form: str) -> None:
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in theirs.items()}
    (tmp_path / "half").write_bytes(saved(state) if form == "torch" else save(state))
    loaded = load_weights(tmp_path / "half")
    model = load_model(tmp_path / "half")
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert torch.equal(model.state_dict()["backbone.layers.0.weight"], state["backbone.features.0.weight"].float())
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state.items())


def test_our_own_file_in_half_precision_is_read(tmp_path: Path) -> None:
    model = build_model(load_spec(LITE).with_names(("cat",)))
    half = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    checkpoint.save(tmp_path / "half.safetensors", half, model.spec)
    read = load_model(tmp_path / "half.safetensors").state_dict()
    assert all(torch.equal(value, half[key].to(value.dtype)) for key, value in read.items())


class Evil:
    """Makes a folder when it is unpickled, by one of several ways."""

    def __init__(self, way: str, target: Path) -> None:
        self._way, self._target = way, str(target)

    def __reduce__(self) -> tuple[Any, ...]:
        return WAYS[self._way](self._target)


WAYS: dict[str, Callable[[str], tuple[Any, ...]]] = {
    "mkdir": lambda target: (os.mkdir, (target,)),
    "system": lambda target: (os.system, (f"mkdir '{target}'",)),
    "process": lambda target: (subprocess.Popen, (["mkdir", target],)),
    "exec": lambda target: (exec, (f"import os; os.mkdir({target!r})",)),
    "eval": lambda target: (eval, (f"__import__('os').mkdir({target!r})",)),
    "pickle": lambda target: (pickle.loads, (pickle.dumps(Evil("mkdir", Path(target))),)),
    "torch": lambda target: (torch.save, ({}, target)),
}
PLACES: dict[str, Callable[[Evil, State], object]] = {
    "alone": lambda evil, state: evil,
    "as the state": lambda evil, state: {"state_dict": evil},
    "beside a whole state": lambda evil, state: {"state_dict": state, "epoch": evil},
    "among the tensors": lambda evil, state: {**state, "zzz": evil},
    "deep inside": lambda evil, state: {"state_dict": state, "meta": {"a": [({"b": [evil]},)]}},
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS)
def test_a_pickle_that_would_run_code_runs_none(way: str, place: str, zipped: bool, tmp_path: Path) -> None:
    target = tmp_path / "made_by_the_pickle"
    path = tmp_path / "evil.pth"
    path.write_bytes(saved(PLACES[place](Evil(way, target), SMALL), zipped=zipped))
    refused(path, "holds Python objects besides tensors|cut off or damaged")
    assert not target.exists()


def test_a_bare_pickle_and_one_within_an_archive_run_nothing_either(tmp_path: Path) -> None:
    target = tmp_path / "made_by_the_pickle"
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(Evil("mkdir", target)))
    refused(tmp_path / "bare.pkl")
    with zipfile.ZipFile(tmp_path / "published.zip", "w") as archive:
        archive.writestr("folder/net.pth", saved(Evil("mkdir", target)))
        archive.writestr("readme.txt", "words")
    refused(tmp_path / "published.zip", r"published\.zip \(folder/net\.pth\): holds Python objects")
    assert not target.exists()


def test_the_one_weights_file_of_an_archive_is_read_and_two_are_not(theirs: State, tmp_path: Path) -> None:
    path = tmp_path / "published.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
        archive.writestr("../../escaped/net.pth", saved(theirs))
    assert load_model(path).spec.labels.names == ("class 1", "class 2")
    assert [file.name for file in tmp_path.iterdir()] == ["published.zip"]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other.pth", saved(SMALL))
    refused(path, "holds 2 files with weights; unpack it and give one of them")


def test_an_archive_that_would_unpack_to_many_times_its_size_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_HARMLESS", 1_000_000)
    for member in ("net.pth", "archive/data.pkl", "archive/data/0"):
        with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, bytes(5_000_000))
        refused(tmp_path / "bomb.zip", "claims to hold 5,000,000; it is not unpacked")


def safetensors(header: object, claimed: int | None = None, data: bytes = b"") -> bytes:
    """A file with that header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if claimed is None else claimed) + text + data


HUGE = {"dtype": "F32", "shape": [2**31, 2**31], "data_offsets": [0, 2**64 - 4]}
CLAIMS: dict[str, bytes] = {
    "a header of an exabyte": safetensors({"a": HUGE}, claimed=2**60),
    "a header of 4 GB": safetensors({"a": HUGE}, claimed=2**32),
    "a tensor of an exabyte": safetensors({"a": HUGE}),
    "a tensor past the end": safetensors({"a": {"dtype": "F32", "shape": [100], "data_offsets": [0, 400]}}),
    "a shape beside the data": safetensors(
        {"a": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4]}}, data=bytes(4)
    ),
    "a number for a header": safetensors(3),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_safetensors_file_that_claims_too_much_is_refused_at_once(claim: str, tmp_path: Path) -> None:
    (tmp_path / "claims.safetensors").write_bytes(CLAIMS[claim])
    refused(tmp_path / "claims.safetensors", "not a whole safetensors file|not a weights file")


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "3", '{"version": 1}', '{"version": "new", "spec": {}}', "\0"])
def test_a_damaged_description_of_our_own_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "ours.safetensors").write_bytes(save(SMALL, {checkpoint.KEY: text}))
    refused(tmp_path / "ours.safetensors", "its multibox description is damaged")
