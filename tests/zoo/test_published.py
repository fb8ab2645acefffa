"""A sheet's name leads to the weights that are published for it, and these become a model of that very sheet."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import multibox
from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.spec import ModelSpec
from multibox.weights import checkpoint
from multibox.weights.fetch import cached
from multibox.zoo import is_weights_file, list_models, load_spec, models
from multibox.zoo.models import find_weights, load_model

LITE = "ssdlite320_mobilenet_v3_large.torchvision_coco"
SHEETS = Path(multibox.__file__).parent / "zoo" / "models"
URL = "https://example.com/lite.safetensors"


@pytest.fixture
def sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's sheet, alike but for one prior to torchvision's, whose weights lie in the cache of a machine offline."""
    monkeypatch.setenv("MULTIBOX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MULTIBOX_OFFLINE", "1")
    text = (SHEETS / f"{LITE}.toml").read_text(encoding="utf-8").replace('tag = "torchvision_coco"', 'tag = "mine"')
    url = load_spec(LITE).weights.url
    lines = [line for line in text.replace(url, URL).splitlines() if not line.startswith(("sha256", "aliases"))]
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(lines).replace("min_size = 64.0", "min_size = 60.0"), encoding="utf-8")
    assert load_spec(path).priors != load_spec(LITE).priors
    return path


def publish(spec: ModelSpec) -> dict[str, torch.Tensor]:
    """Puts random weights where the download would be."""
    state = build_model(spec).state_dict()
    cached(URL).parent.mkdir(parents=True)
    checkpoint.save(cached(URL), state, spec)
    return state


def test_the_sheet_that_is_asked_for_wins_over_the_one_that_the_file_names(sheet: Path) -> None:
    state = publish(load_spec(LITE))
    model = load_model(sheet)
    assert model.spec == load_spec(sheet) and not model.training
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_what_lies_at_the_address_must_fit_the_sheet(sheet: Path) -> None:
    publish(load_spec(LITE).with_names(("cat", "dog")))
    with pytest.raises(ModelError, match=r"does not fit the model .*\.mine' \('head\.classes\.0\.1\.weight' is \[18"):
        load_model(sheet)


def test_offline_and_not_in_the_cache_is_one_sentence(sheet: Path) -> None:
    with pytest.raises(ModelError, match=r"MULTIBOX_OFFLINE is set; unset it, or put the file at .*lite\.safetensors"):
        load_model(sheet)


def test_every_sheet_with_weights_asks_for_its_own_file(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []
    monkeypatch.setattr(models, "fetch", lambda url, sha256: asked.append((url, sha256)) or "given")
    monkeypatch.setattr(models, "load_weights", lambda path: models.Loaded(sheet="recognised", state={}))
    specs = [load_spec(name) for name in list_models() if load_spec(name).weights]
    for spec in specs:
        for name in (spec.name, *spec.aliases):
            assert find_weights(name).spec == spec and asked[-1] == (spec.weights.url, spec.weights.sha256)
    assert len(specs) > 1


def test_a_sheet_of_which_no_weights_are_published_says_the_way_out() -> None:
    with pytest.raises(ModelError, match=r"without published weights; .* 'multibox train --model ssd300_vgg16'"):
        load_model("ssd300_vgg16")


def test_the_checksum_in_a_files_name_is_in_the_sheet() -> None:
    for spec in map(load_spec, list_models()):
        if spec.weights and spec.weights.sha256:
            assert len(spec.weights.sha256) >= 8 and int(spec.weights.sha256, 16)
    assert load_spec(LITE).weights.sha256 == "a79551df"


def test_files_and_sheets_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssd300_vgg16").mkdir()
    (tmp_path / "weights_without_ending").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    files = ("a.pth", "absent.safetensors", "A.PTH", "b.caffemodel", "weights_without_ending", tmp_path)
    sheets = (LITE, "ssd300_vgg16", *load_spec(LITE).aliases, "mine.toml", tmp_path / "mine.toml", "ssd300_vgg15")
    assert all(is_weights_file(file) for file in files)
    assert not any(is_weights_file(sheet) for sheet in sheets)


def test_the_detector_takes_a_sheet_too(sheet: Path) -> None:
    publish(load_spec(LITE))
    assert multibox.load(sheet).spec == load_spec(sheet)
