"""One entry of torch.hub per architecture: trained, fresh, or started over for other classes; refused in words."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch

from multibox.errors import ModelError, UsageError
from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.weights import checkpoint
from multibox.zoo import list_models, load_spec
from multibox.zoo.hub import entries

LITE = "ssdlite320_mobilenet_v3_large"


@pytest.fixture
def trained(tmp_path: Path) -> tuple[SSD, Path]:
    model = build_model(load_spec(LITE).with_names(("cat", "dog"))).eval()
    path = tmp_path / "mine.safetensors"
    checkpoint.save(path, model.state_dict(), model.spec)
    return model, path


def test_every_architecture_has_an_entry_that_explains_itself() -> None:
    found = entries()
    assert set(found) == {load_spec(name).architecture for name in list_models()}
    for name, entry in found.items():
        assert entry.__name__ == name and name.isidentifier()
        assert list(inspect.signature(entry).parameters) == ["weights", "names", "pretrained_backbone"]
    text = entries()["ssd300_vgg16"].__doc__
    assert text is not None and text.startswith("The network ssd300_vgg16: ") and "torchvision_coco" in text


def test_a_file_gives_the_trained_network(trained: tuple[SSD, Path]) -> None:
    model, path = trained
    again = entries()[LITE](weights=path)
    images = torch.randn(1, 3, 320, 320)
    assert not again.training and again.spec == model.spec
    with torch.no_grad():
        assert torch.equal(again(images).logits, model(images).logits)


@pytest.mark.parametrize("weights", ["torchvision_coco", f"{LITE}.torchvision_coco"])
def test_a_tag_or_a_name_gives_the_published_weights(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MULTIBOX_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("MULTIBOX_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"ssdlite320_mobilenet_v3_large_coco-a79551df\.pth is not in the cache"):
        entries()[LITE](weights)


def test_names_alone_give_a_fresh_network_that_learns() -> None:
    model = entries()[LITE](names=["cat", "dog"])
    assert model.training and model.spec.labels.names == ("cat", "dog")


def test_an_architecture_without_a_sheet_for_own_names_takes_the_first_one_it_has() -> None:
    tags: dict[str, list[str]] = {}
    for name in list_models():
        tags.setdefault(name.partition(".")[0], []).append(name.partition(".")[2])
    without = next((name for name, found in tags.items() if "" not in found), None)
    if without is None:
        pytest.skip("every architecture has a sheet for own names")
    assert entries()[without](names=["cat"]).spec.tag == tags[without][0]


def test_other_names_take_over_what_fits(trained: tuple[SSD, Path]) -> None:
    model, path = trained
    other = entries()[LITE](path, names=["kettle", "dog", "cow"])
    assert other.spec.labels.names == ("kettle", "dog", "cow")
    key = "backbone.features.0.0.weight"
    assert torch.equal(other.state_dict()[key], model.state_dict()[key])
    rows = other.head.classes[0][1].weight.view(6, 4, -1)  # type: ignore[index,union-attr]
    given = model.head.classes[0][1].weight.view(6, 3, -1)  # type: ignore[index,union-attr]
    assert torch.equal(rows[:, 2], given[:, 2])


def test_classes_that_the_file_does_not_name_are_named(tmp_path: Path) -> None:
    model = build_model(load_spec(LITE).with_names(("class 1", "class 2"))).eval()
    checkpoint.save(tmp_path / "mine.safetensors", model.state_dict(), model.spec)
    named = entries()[LITE](tmp_path / "mine.safetensors", names=["cat", "dog"])
    assert named.spec.labels.names == ("cat", "dog") and not named.training
    assert torch.equal(named.head.classes[0][1].weight, model.head.classes[0][1].weight)  # type: ignore[index,union-attr]


def test_neither_weights_nor_names_is_one_sentence_with_the_tags() -> None:
    with pytest.raises(
        UsageError, match=r"ssd300_resnet50 needs weights \(nvidia_coco, or a file\), or names, those of"
    ):
        entries()["ssd300_resnet50"]()


def test_an_unknown_tag_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"has no weights 'torchvision_coc'; did you mean 'torchvision_coco'\?"):
        entries()["ssd300_vgg16"](weights="torchvision_coc")
    with pytest.raises(ModelError, match=r"ssd300_resnet50 has no weights 'imagenet'; there are nvidia_coco"):
        entries()["ssd300_resnet50"](weights="imagenet")


def test_weights_of_another_network_lead_to_its_entry(trained: tuple[SSD, Path]) -> None:
    with pytest.raises(
        ModelError, match=rf"mine\.safetensors: belongs to '{LITE}'; take the entry '{LITE}', not 'ssd300"
    ):
        entries()["ssd300_vgg16"](trained[1])
    with pytest.raises(ModelError, match=r"nvidia_ssd: belongs to 'ssd300_resnet50\.nvidia_coco'; take the entry"):
        entries()["ssd300_vgg16"]("nvidia_ssd")
