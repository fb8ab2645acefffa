"""A compiled network learns what the plain one learns."""

from dataclasses import replace

import pytest
import torch

from multibox.training.kept.results_table import read_rows
from multibox.training.loop import module
from multibox.training.train import train
from multibox.weights.checkpoint import load


@pytest.mark.slow
def test_the_compiled_training_has_the_losses_and_the_weights_keys_of_the_plain_one(options, monkeypatch):
    compiled = []
    monkeypatch.setattr(
        module.SSD,
        "compile",
        # captured and differentiated as by any compiler; making machine code of it is the affair of torch and its tools
        lambda network: compiled.append(network) or torch.nn.Module.compile(network, backend="aot_eager"),
    )
    short = replace(options, epochs=1, batch=8, lr0=0.01, class_loss="focal", val_split="none")
    plain, fast = train(short), train(replace(short, compile=True))
    assert len(compiled) == 1
    (row,), (same,) = (read_rows(result.folder / "results.csv") for result in (plain, fast))
    assert same["train/loss"] == pytest.approx(row["train/loss"], rel=1e-3)
    assert load(plain.weights).state.keys() == load(fast.weights).state.keys()
