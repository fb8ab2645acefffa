"""Two processes train like one with the joint batch, write like one, and end and go on as one."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from multibox.training.kept.results_table import read_rows
from multibox.training.loop.module import TrainingModule
from multibox.training.options import TrainOptions
from multibox.training.train import TrainResult, resume, train
from multibox.weights.checkpoint import load
from ranks import in_ranks, start_ranks

CLOCKS = ("img_per_s", "seconds")


def rows_of(folder: Path) -> list[dict[str, float]]:
    rows = read_rows(folder / "results.csv")
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in rows]


@pytest.fixture
def steady(options: TrainOptions) -> TrainOptions:
    """Without batch statistics, which differ from process to process, from weights that already see something."""
    first = train(replace(options, name="first", epochs=1, val_split="none", ema=0.0, lr0=0.05, warmup_epochs=0.0))
    return replace(options, model=str(first.weights), freeze_norms=True, lr0=0.01, warmup_epochs=0.0)


def compare(options: TrainOptions) -> None:
    """One process, and two of half its batch."""
    (alone,) = in_ranks(1, train, replace(options, name="alone"), fresh=True)
    first, second = in_ranks(2, train, replace(options, name="two", batch=options.batch // 2), fresh=True)
    assert first == second
    assert first.epochs == alone.epochs
    one, two = (load(run.folder / "weights/last.safetensors").state for run in (alone, first))
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=1e-4, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}")
    for old, new in zip(rows_of(alone.folder), rows_of(first.folder), strict=True):
        losses = {name for name in old if not name.startswith("val/")}
        assert {name: new[name] for name in losses} == pytest.approx({name: old[name] for name in losses}, rel=1e-4)
    names = {path.relative_to(alone.folder).as_posix() for path in alone.folder.rglob("*") if "events" not in path.name}
    assert names == {
        path.relative_to(first.folder).as_posix() for path in first.folder.rglob("*") if "events" not in path.name
    }
    assert len(list((first.folder / "tensorboard").glob("events*"))) == 1


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_joint_batch(steady):
    compare(replace(steady, batch=8, val_split="none"))


@pytest.mark.slow
def test_also_from_a_teacher_and_with_images_without_objects(steady, tmp_path, render):
    data = render(tmp_path / "mixed", {"full": 4, "val": 3})
    render(data, {"empty": 8}, empty=True)
    stems = [f"full{index:03d}" for index in range(4)] + [f"empty{index:03d}" for index in range(8)]
    (data / "ImageSets/Main/train.txt").write_text("\n".join(stems) + "\n")
    compare(replace(steady, data=str(data), names=("blue", "red"), batch=2, teacher=steady.model, lr0=1e-3))


def content(folder: Path) -> dict[str, Any]:
    """The checkpoint by its bits, less clocks and Lightning's counts of events."""
    state = torch.load(folder / "weights/last.ckpt", weights_only=True)
    state.pop("loops")
    return bits(state)


def bits(thing: Any) -> Any:
    """Tensors as bytes, so that == compares what is in them."""
    if isinstance(thing, torch.Tensor):
        return thing.numpy().tobytes()
    if isinstance(thing, dict):
        return {name: bits(value) for name, value in thing.items() if name not in CLOCKS}
    return [bits(value) for value in thing] if isinstance(thing, list | tuple) else thing


def train_until(options: TrainOptions, step: int, rank: int) -> TrainResult:
    """A training of which one rank is told to end in this step."""
    original, steps = TrainingModule.training_step, []

    def watched(self: TrainingModule, batch: Any, index: int) -> torch.Tensor:
        steps.append(index)
        if len(steps) == step and int(os.environ["RANK"]) == rank:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, index)

    TrainingModule.training_step = watched
    return train(options)


@pytest.mark.slow
def test_with_workers_and_validations_two_processes_end_and_go_on_as_one(options):
    options = replace(options, batch=2, workers=2, optimizer="adamw", patience=5)
    straight, _ = in_ranks(2, train, replace(options, name="straight"), fresh=True)
    first, second = in_ranks(2, train_until, replace(options, name="broken"), 3, 1, fresh=True)
    assert first == second and first.interrupted
    whole, _ = in_ranks(2, resume, first.folder, fresh=True)
    assert not whole.interrupted and whole.metrics == straight.metrics
    assert rows_of(whole.folder) == rows_of(straight.folder)
    one, two = content(whole.folder), content(straight.folder)
    assert {name for name in one if one[name] != two[name]} == set()


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_killed_rank_ends_the_training_of_the_other_with_the_cause(options, lost):
    endless = replace(options, epochs=1000, batch=2, workers=1, val_split="none")
    with start_ranks(2, train, endless, fresh=True) as ranks:
        while not (Path(options.project) / "run/weights/last.ckpt").is_file():
            time.sleep(0.1)
        ranks[lost][0].kill()
        killed = time.monotonic()
        process, pipe = ranks[1 - lost]
        assert pipe.poll(60)
        ok, cause = pipe.recv()
        process.join(60 + killed - time.monotonic())
        assert not process.is_alive() and not ok
    assert f"RankLost: rank {lost} of 2 (process {ranks[lost][0].pid} on " in cause
