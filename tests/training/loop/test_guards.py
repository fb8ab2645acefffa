"""What goes wrong in the loop: each fault is made to happen, and the run goes on or ends with its sentence."""

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from multibox.errors import MultiboxError
from multibox.training.kept.checkpoints import newest_checkpoint
from multibox.training.kept.results_table import read_rows
from multibox.training.loop.failures import OutOfMemory
from multibox.training.loop.module import TrainingModule
from multibox.training.loop.recovery import smaller_batches
from multibox.training.loop.step_guard import Diverged
from multibox.training.options import TrainOptions
from multibox.training.train import train

Fault = Callable[[TrainingModule, Any], Any]


@pytest.fixture
def at_steps(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """`at_steps(fault, first, last)`: the fault happens in these forward passes, from 1; gives what was learnt."""

    def arrange(fault: Fault, first: int, last: int | None = None) -> list[Any]:
        original, seen = TrainingModule.training_step, []

        def step(self: TrainingModule, batch: Any, index: int) -> torch.Tensor:
            seen.append((self.trainer.current_epoch, batch.records.tolist()))
            if first <= len(seen) <= (last or first):
                batch = fault(self, batch)
            return original(self, batch, index)

        monkeypatch.setattr(TrainingModule, "training_step", step)
        return seen

    return arrange


def poison(module: TrainingModule, batch: Any) -> Any:
    """Infinite pixels, once: they go through every batch norm."""
    module.normalize.register_forward_hook(lambda *_: poisoned(module), always_call=True)
    return batch


def poisoned(module: TrainingModule) -> torch.Tensor:
    module.normalize._forward_hooks.clear()
    spec = module.network.spec.input
    return torch.full((4, 3, spec.height, spec.width), float("inf"))


@pytest.fixture
def small(options: TrainOptions) -> TrainOptions:
    return replace(options, val_split="none")


def test_a_bad_step_harms_nothing_and_is_told(small, at_steps, monkeypatch, caplog):
    at_steps(poison, 3)
    states: list[dict[str, Any]] = []
    begin = TrainingModule.on_train_batch_start

    def keep(self: TrainingModule, batch: Any, index: int) -> None:
        averaging = self.trainer.callbacks[0]
        parts = (self.network.state_dict(), self.optimizers().state_dict()["state"], averaging.averaged.state_dict())
        states.append(deepcopy(dict(enumerate(parts))))
        begin(self, batch, index)

    monkeypatch.setattr(TrainingModule, "on_train_batch_start", keep)
    result = train(small)
    torch.testing.assert_close(states[3], states[2], rtol=0, atol=0)
    assert not torch.equal(states[4][0]["head.boxes.0.1.weight"], states[3][0]["head.boxes.0.1.weight"])
    assert all(value == value for row in read_rows(result.folder / "results.csv") for value in row.values())
    told = [record.message for record in caplog.records if "left out" in record.message]
    assert len(told) == 1
    assert "the loss is not finite at step 2 (largest term: classification nan; learning rate 0.0" in told[0]
    assert told[0].count(".jpg") == 4


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_is_told_apart(small, at_steps, caplog):
    def spoil(module: TrainingModule, batch: Any) -> Any:
        weight = next(module.network.head.parameters())
        handle = weight.register_hook(lambda gradient: [handle.remove(), gradient * float("nan")][1])
        return batch

    at_steps(spoil, 2)
    train(replace(small, epochs=1, clip_grad=1.0))
    assert "the gradient is not finite at step 1" in caplog.text


@pytest.mark.slow
def test_ten_bad_steps_in_a_row_roll_the_run_back_once_at_half_the_rate(small, at_steps, caplog):
    seen = at_steps(poison, 7, 16)
    result = train(replace(small, epochs=5, lr0=0.01))
    assert "going on from epoch 2 with half the rate (0.005)" in caplog.text
    assert [epoch for epoch, _ in seen] == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    rows = read_rows(result.folder / "results.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert max(row["lr/group0"] for row in rows[1:]) <= 0.005
    assert yaml.safe_load((result.folder / "args.yaml").read_text())["lr0"] == 0.005


@pytest.mark.slow
def test_a_run_that_goes_on_failing_ends_with_a_diagnosis(small, at_steps, caplog):
    seen = at_steps(poison, 6, 1000)
    sentence = r"not finite at step 13 \(largest term: .*images .*\), nor at the 9 steps before: lower --lr0"
    with pytest.raises(Diverged, match=sentence) as failure:
        train(replace(small, epochs=8))
    assert failure.value.exit_code == 1
    assert len(seen) == 15 + 10 and caplog.text.count("half the rate") == 1
    assert newest_checkpoint(Path(small.project) / "run/weights/last.ckpt")[1]["global_step"] == 4


def allocate_everything(module: TrainingModule, batch: Any) -> Any:
    if len(batch.images) > 2:
        torch.empty(10**16)
    return batch


def test_out_of_memory_says_what_to_change(small, at_steps):
    at_steps(allocate_everything, 1)
    with pytest.raises(OutOfMemory, match=r"batches of 4 images \(.*can't allocate memory.*lower --batch or --imgsz"):
        train(small)


@pytest.mark.slow
def test_auto_batch_halves_the_batch_and_goes_on_with_the_same_step(small, at_steps, caplog):
    seen = at_steps(allocate_everything, 7, 1000)
    result = train(replace(small, auto_batch=True, epochs=3))
    assert "going on from epoch 2 with batches of 2, 2 of them a step" in caplog.text
    before, failed, after = seen[:6], seen[6], seen[7:]
    assert failed[1] == after[0][1] + after[1][1]
    for epoch in range(3):
        learnt = [record for number, records in before + after for record in records if number == epoch]
        assert sorted(learnt) == list(range(16))
    assert [row["step"] for row in read_rows(result.folder / "results.csv")] == [4, 8, 12]


def test_smaller_batches_keep_the_images_of_a_step():
    options = TrainOptions(data="x", model="y", batch=12, accumulate=3)
    for batch, accumulate in ((6, 6), (3, 12), (1, 36)):
        options = smaller_batches(options)
        assert (options.batch, options.accumulate) == (batch, accumulate)


@pytest.mark.slow
def test_a_killed_worker_ends_the_run_with_the_cause(small, at_steps):
    def kill(module: TrainingModule, batch: Any) -> Any:
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        return batch

    at_steps(kill, 2)
    began = time.monotonic()
    with pytest.raises(MultiboxError, match=r"reads images ended .*(Killed|exited unexpectedly).*--workers"):
        train(replace(small, workers=2, epochs=50))
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_keeps_the_checkpoint_before(small, at_steps):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(module: TrainingModule, batch: Any) -> Any:
        size = (Path(small.project) / "run/weights/last.ckpt").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
        return batch

    at_steps(fill, 6)
    try:
        with pytest.raises(MultiboxError, match=r"last.ckpt: the checkpoint cannot be written \(File too large\)"):
            train(small)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    weights = Path(small.project) / "run/weights"
    assert newest_checkpoint(weights / "last.ckpt")[1]["global_step"] == 4
    assert not list(weights.glob(".*"))
