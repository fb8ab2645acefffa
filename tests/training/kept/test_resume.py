"""A run that was cut off and goes on ends with the same bits as one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multibox.training.kept.checkpoints import previous_of
from multibox.training.kept.results_table import read_rows
from multibox.training.loop.module import TrainingModule
from multibox.training.options import TrainOptions
from multibox.training.train import resume, train
from ranks import in_ranks

CLOCKS = ("img_per_s", "seconds")


def content(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "weights/last.ckpt", weights_only=True)


def differences(one: Any, two: Any, where: str = "") -> list[str]:
    """Where two checkpoints differ, other than by the clock and by Lightning's own counts of events."""
    if where.endswith(CLOCKS) or where.startswith("/loops"):
        return []
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, two) else [where]
    if isinstance(one, dict):
        assert one.keys() == two.keys(), where
        return [each for key in one for each in differences(one[key], two[key], f"{where}/{key}")]
    if isinstance(one, list | tuple):
        return [
            each for i, pair in enumerate(zip(one, two, strict=True)) for each in differences(*pair, f"{where}/{i}")
        ]
    return [] if one == two else [where]


def rows_of(folder: Path) -> list[dict[str, float]]:
    rows = read_rows(folder / "results.csv")
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in rows]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `watch` notes and does in this process."""
    state = watched()
    monkeypatch.setattr(TrainingModule, "training_step", watch(state))
    return state


def watched(end: int | None = None) -> dict[str, Any]:
    return {"count": 0, "end": end, "seen": []}


def watch(state: dict[str, Any]) -> Callable[..., torch.Tensor]:
    """Steps that draw from all generators; the one at `end` also asks for the end; what was learnt is noted."""
    original = TrainingModule.training_step

    def step(self: TrainingModule, batch: Any, index: int) -> torch.Tensor:
        state["count"] += 1
        state["seen"].append((self.trainer.current_epoch, batch.records.tolist()))
        if state["count"] == state["end"]:
            os.kill(os.getpid(), signal.SIGTERM)
        drawn = torch.rand(()) * float(np.random.rand()) * random.random()
        return original(self, batch, index) * (1 + 0.5 * drawn)

    return step


def run_watched(options: TrainOptions, end: int | None, *, again: bool) -> tuple[bool, list[Any]]:
    """In a process of its own: (whether it was interrupted, what was learnt); rank 1 asks for the end."""
    state = watched(end if os.environ["RANK"] == "1" else None)
    TrainingModule.training_step = watch(state)
    result = resume(Path(options.project) / options.name) if again else train(options)
    return result.interrupted, state["seen"]


def compare(options, steps, end: int) -> None:
    straight = train(replace(options, name="straight"))
    seen, steps["seen"], steps["count"], steps["end"] = steps["seen"], [], 0, end
    broken = train(replace(options, name="broken"))
    assert broken.interrupted and len(steps["seen"]) == end
    torch.rand(7), np.random.rand(7), random.random()
    whole = resume(broken.folder)
    assert not whole.interrupted
    assert steps["seen"] == seen
    assert differences(content(straight.folder), content(whole.folder)) == []
    assert rows_of(straight.folder) == rows_of(whole.folder)
    assert straight.metrics == pytest.approx(whole.metrics, rel=1e-5)  # the table keeps six digits


@pytest.mark.slow
def test_in_mid_epoch_nothing_is_lost_doubled_or_changed(options, steps):
    compare(replace(options, val_split="none", optimizer="adamw"), steps, end=6)


@pytest.mark.slow
@pytest.mark.parametrize("end", [2, 4, 8, 11])
@pytest.mark.parametrize("workers", [0, 2])
def test_wherever_it_ends_and_with_workers_it_goes_on_bit_by_bit(options, steps, workers, end):
    compare(replace(options, epochs=3, workers=workers), steps, end)


@pytest.mark.slow
@pytest.mark.parametrize("end", [3, 4])
def test_two_processes_of_which_one_is_told_to_end_go_on_bit_by_bit(options, end):
    small = replace(options, val_split="none", batch=2)

    one, two = (replace(small, name=name) for name in ("straight", "broken"))
    straight = in_ranks(2, partial(run_watched, again=False), one, None, fresh=True)
    broken = in_ranks(2, partial(run_watched, again=False), two, end, fresh=True)
    whole = in_ranks(2, partial(run_watched, again=True), two, None, fresh=True)
    assert [each for each, _ in broken] == [True, True] and [each for each, _ in whole] == [False, False]
    for rank in range(2):
        assert straight[rank][1] == broken[rank][1] + whole[rank][1]
    first, second = (Path(small.project) / name for name in ("straight", "broken"))
    assert differences(content(first), content(second)) == []
    assert rows_of(first) == rows_of(second)


@pytest.mark.slow
def test_an_end_within_a_validation_has_it_done_again(options, steps, monkeypatch):
    from multibox.training import train as room

    original, calls = room.validate, []

    def validate(*args: Any) -> dict[str, float]:
        calls.append(len(calls))
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*args)

    monkeypatch.setattr(room, "validate", validate)
    straight = train(replace(options, name="straight"))
    broken = train(replace(options, name="broken"))
    assert broken.interrupted and broken.epochs == 1 and len(calls) == 4
    whole = resume(broken.folder)
    assert len(calls) == 5 and whole.epochs == 2 and len(steps["seen"]) == 2 * 8
    assert rows_of(straight.folder) == rows_of(whole.folder)


@pytest.mark.slow
def test_a_resume_of_a_broken_checkpoint_takes_the_one_before(options, caplog):
    small = replace(options, val_split="none")
    straight = train(small)
    last = straight.folder / "weights/last.ckpt"
    before = content(straight.folder)
    last.write_bytes(last.read_bytes()[:1000])
    whole = resume(straight.folder)
    assert f"going on from {previous_of(last)}" in caplog.text
    assert differences(before, content(whole.folder)) == []
    assert [row["epoch"] for row in rows_of(whole.folder)] == [1, 2]


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(options):
    small = replace(options, epochs=6, val_split="none")
    straight = train(replace(small, name="straight"))
    words = ["--data", small.data, "--model", small.model, "--project", small.project, "--name", "broken"]
    words += ["--epochs", "6", "--batch", "4", "--workers", "0", "--val-split", "none", "--device", "cpu"]
    words += ["--crop-min", "0.6", "--zoom-out", "0", "--threads", str(torch.get_num_threads())]
    folder, draw, kills = Path(small.project) / "broken", random.Random(1), 0
    while True:
        again = ["--resume", str(folder)] if (folder / "weights/last.ckpt").is_file() else [*words, "--exist-ok"]
        command = [sys.executable, "-m", "multibox", "train", *again, "--save-minutes", "0.0001"]
        run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in run.stderr:
            if "epochs of" in line and kills < 4:
                time.sleep(draw.uniform(0.5, 2.0))
                run.kill()
                kills += 1
        if run.wait() == 0:
            break
    assert kills == 4
    wrong = differences(content(straight.folder), content(folder))
    assert not [each for each in wrong if "/random/" not in each]  # which this process has drawn from otherwise
