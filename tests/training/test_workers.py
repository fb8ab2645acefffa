"""Whatever a sample is made of and kept in, any number of workers gives the same batches."""

import pytest
import torch

from multibox.data.augment import AugmentSpec
from multibox.data.open import open_dataset
from multibox.data.samples import TrainSamples
from multibox.training.feed.loader import make_loader
from multibox.training.options_file import read_options
from multibox.zoo import load_spec


@pytest.mark.parametrize(("cache", "finished"), [("ram", True), ("disk", False)])
def test_mosaic_and_mixup_from_a_shared_cache_are_the_same_with_workers_and_without(
    rectangles, tmp_path, monkeypatch, cache, finished
):
    monkeypatch.setenv("MULTIBOX_CACHE", str(tmp_path))
    network = load_spec("ssdlite320_mobilenet_v3_large").input

    def batches(workers: int, kept: str) -> list[torch.Tensor]:
        samples = TrainSamples(
            open_dataset(rectangles, "train"), network, AugmentSpec(mosaic=0.5, mixup=0.3), 5,
            cache=kept, finished=finished, mixed_epochs=1,
        )  # fmt: skip
        loader = make_loader(samples, batch=8, seed=5, workers=workers, pin=False)
        found = []
        for epoch in (0, 1):
            loader.sampler.set_epoch(epoch)
            found += [part for batch in loader for part in batch]
        return found

    alone = batches(0, cache)
    assert all(torch.equal(a, b) for a, b in zip(alone, batches(2, cache), strict=True))
    # photos of 160 x 120 are kept as they are, so that the cache changes nothing at all
    assert all(torch.equal(a, b) for a, b in zip(alone, batches(0, "none"), strict=True))


@pytest.mark.parametrize("word", ["true", "false", "none", "bytes", "ram", "disk"])
def test_a_file_of_options_may_name_the_cache_or_say_yes_or_no(tmp_path, word):
    (tmp_path / "options.yaml").write_text(f"data: x\nmodel: ssd300_vgg16\ncache: {word}\n")
    expected = {"true": True, "false": False}.get(word, word)
    assert read_options(tmp_path / "options.yaml", {}).cache == expected
