"""A file of another codebase becomes one of our own, which says what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from multibox import convert
from multibox.errors import ModelError, UsageError
from multibox.network.build import build_model
from multibox.weights import checkpoint
from multibox.zoo import load_spec
from multibox.zoo.models import load_model

LITE = "ssdlite320_mobilenet_v3_large"


def torchvision_ssd300(classes: int) -> dict[str, torch.Tensor]:
    """As somebody who trained with torchvision saved it."""
    from torchvision.models.detection import ssd300_vgg16

    return ssd300_vgg16(weights=None, weights_backbone=None, num_classes=classes + 1).state_dict()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("theirs") / "model_final.pth"
    torch.save({"model": torchvision_ssd300(3), "epoch": 7}, path)
    return path


def test_the_converted_file_is_the_same_model(theirs: Path, tmp_path: Path) -> None:
    done = convert(theirs, tmp_path / "ours.safetensors")
    assert done.sheet == "ssd300_vgg16.torchvision_coco" and done.file == tmp_path / "ours.safetensors"
    assert done.spec.labels.names == ("class 1", "class 2", "class 3") and done.tensors == 71
    before, after = load_model(theirs), load_model(done.file)
    assert before.spec == after.spec == done.spec
    assert done.parameters == sum(value.numel() for value in after.parameters())
    ours = after.state_dict()
    assert all(torch.equal(value, ours[key]) for key, value in before.state_dict().items())


def test_names_are_written_into_the_file(theirs: Path, tmp_path: Path) -> None:
    names = ("cat", "dog", "cow")
    for given in (names, ["background", *names], ("__BACKGROUND__", *names)):
        done = convert(theirs, tmp_path / "ours.safetensors", names=given)
        assert done.spec.labels.names == names == load_model(done.file).spec.labels.names


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("cat", "dog"), "2 names for 3 classes"),
        (("a", "b", "c", "d"), "4 names for 3"),
        (("cat", "dog", "cat"), "the name 'cat' is given twice"),
    ],
)
def test_names_that_do_not_fit_are_refused_before_anything_is_written(
    theirs: Path, tmp_path: Path, names: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        convert(theirs, tmp_path / "ours.safetensors", names=names)
    assert list(tmp_path.iterdir()) == []


def test_another_sheet_takes_the_place_of_the_recognised_one(theirs: Path, tmp_path: Path) -> None:
    done = convert(theirs, tmp_path / "ours.safetensors", sheet="ssd300_vgg16")
    assert done.sheet == done.spec.name == "ssd300_vgg16" and len(done.spec.labels.names) == 3
    sheet = tmp_path / "mine.toml"
    sheet.write_text(
        Path(convert.__globals__["__file__"]).with_name("models").joinpath("ssd300_vgg16.toml").read_text("utf-8")
    )
    assert convert(theirs, tmp_path / "ours.safetensors", sheet=sheet).spec == done.spec


def test_a_sheet_without_names_takes_those_of_the_recognised_one(tmp_path: Path) -> None:
    spec = load_spec(f"{LITE}.torchvision_coco")
    checkpoint.save(tmp_path / "coco.safetensors", build_model(spec).state_dict(), spec, metrics={"AP": 0.2})
    done = convert(tmp_path / "coco.safetensors", tmp_path / "out.safetensors", sheet=LITE)
    assert done.spec.name == LITE and done.spec.labels.names == spec.labels.names
    assert checkpoint.load(done.file).metrics == {"AP": 0.2}


def test_a_sheet_that_does_not_fit_names_the_first_tensor(theirs: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"does not fit the model '{LITE}' \('backbone\..*' is missing, \d+ such\)"):
        convert(theirs, tmp_path / "ours.safetensors", sheet=LITE)
    with pytest.raises(ModelError, match=f"no model '{LITE}r'; did you mean '{LITE}'"):
        convert(theirs, tmp_path / "ours.safetensors", sheet=f"{LITE}r")
    assert list(tmp_path.iterdir()) == []


def test_the_input_is_never_written_over(tmp_path: Path) -> None:
    spec = load_spec(LITE).with_names(("cat",))
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, build_model(spec).state_dict(), spec)
    (tmp_path / "same.safetensors").symlink_to(path)
    before = path.read_bytes()
    for out in (path, tmp_path / "same.safetensors", tmp_path / "." / "x.safetensors"):
        with pytest.raises(UsageError, match="is the file to convert; give the result another name"):
            convert(path, out)
    assert path.read_bytes() == before
    with pytest.raises(UsageError, match=r"out\.onnx: weights are written as \.safetensors"):
        convert(path, tmp_path / "out.onnx")
