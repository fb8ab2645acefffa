"""Real trainings, tiny: losses fall, files are whole, an interrupted run goes on as if nothing had happened."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from multibox.errors import DataError, MultiboxError, UsageError
from multibox.prediction.detector import load
from multibox.training.train import resume, train
from multibox.weights.checkpoint import load as load_checkpoint


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "results.csv").open()))


def same_weights(a: Path, b: Path) -> bool:
    one, two = load_checkpoint(a).state, load_checkpoint(b).state
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.slow
def test_losses_fall_and_rectangles_are_found(options, render, tmp_path):
    data = render(tmp_path / "more", {"train": 96, "val": 8})
    sheet = tmp_path / "quick.toml"
    sheet.write_text(Path(options.model).read_text().replace("norm_momentum = 0.03", "norm_momentum = 0.1"))
    result = train(replace(options, data=str(data), model=str(sheet), epochs=30, batch=8, val_period=30))
    losses = [float(row["train/loss"]) for row in rows_of(result.folder)]
    assert losses[-1] < 0.5 * losses[0]
    assert result.metrics["AP50"] > 0.2


def test_the_run_folder_is_complete_and_tells_everything(options):
    result = train(options)
    folder = result.folder
    pictures = ("results.png", "train_batch0.jpg", "val_pred.jpg")
    assert all(Image.open(folder / name).size[0] > 100 for name in pictures)
    assert [row["epoch"] for row in rows_of(folder)] == ["1", "2"]
    assert {"train/loss", "train/loss_cls", "train/loss_box", "val/AP", "val/AP50", "lr/group0"} <= set(
        rows_of(folder)[0]
    )
    assert yaml.safe_load((folder / "args.yaml").read_text())["lr0"] == pytest.approx(0.05 / 4)
    assert json.loads((folder / "env.json").read_text())["packages"]["torch"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["best"]["AP"] == pytest.approx(result.metrics["AP"])
    assert list((folder / "tensorboard").glob("events*"))
    assert not list(folder.rglob("*.part"))


def test_weights_describe_themselves_and_predict(options, rectangles):
    result = train(replace(options, epochs=1))
    ours = load_checkpoint(result.weights)
    assert ours.spec.labels.names == ("blue", "red")
    assert ours.training["epochs"] == 1
    assert ours.metrics["AP"] == pytest.approx(result.metrics["AP"], abs=1e-6)
    found = load(result.weights, "torch").predict(next((rectangles / "JPEGImages").iterdir()), conf=0.0)
    assert np.isfinite(found.xyxy).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("assigner", "class_loss", "box_loss"),
    [("atss", "quality_focal", "giou"), ("aligned", "varifocal", "ciou"), ("bipartite", "focal", "diou")],
)
def test_other_assigners_and_losses_train_and_leave_the_network_as_it_is(options, assigner, class_loss, box_loss):
    chosen = replace(options, assigner=assigner, class_loss=class_loss, box_loss=box_loss, epochs=1, val_split="none")
    result = train(chosen)
    assert float(rows_of(result.folder)[0]["train/loss"]) > 0
    plain = train(replace(options, epochs=1, val_split="none"))
    one, two = load_checkpoint(result.weights), load_checkpoint(plain.weights)
    assert one.spec == two.spec and one.state.keys() == two.state.keys()


@pytest.mark.slow
def test_a_second_run_of_the_name_gets_a_number(options):
    small = replace(options, epochs=1, val_split="none")
    assert train(small).folder.name == "run"
    assert train(small).folder.name == "run2"
    assert train(replace(small, exist_ok=True)).folder.name == "run"


@pytest.mark.slow
def test_without_validation_the_last_weights_are_the_result(options):
    result = train(replace(options, val_split="none"))
    assert result.weights.name == "last.safetensors"
    assert result.metrics == {}
    assert (result.folder / "train_pred.jpg").is_file()
    assert not (result.folder / "weights" / "best.safetensors").exists()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_with_and_without_workers(options):
    small = replace(options, val_split="none")
    one, two = train(small), train(replace(small, workers=2))
    assert same_weights(one.weights, two.weights)


def interrupt_after_first_epoch(folder: Path) -> threading.Thread:
    def wait() -> None:
        while not (folder / "weights" / "last.ckpt").is_file():
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(options):
    small = replace(options, epochs=4, val_split="none")
    straight = train(replace(small, name="straight"))
    interrupt_after_first_epoch(Path(options.project) / "broken")
    broken = train(replace(small, name="broken"))
    assert broken.interrupted
    assert 1 <= broken.epochs < 4
    assert load_checkpoint(broken.weights).spec.labels.names == ("blue", "red")
    whole = resume(broken.folder)
    assert not whole.interrupted
    assert whole.folder == broken.folder
    assert [row["epoch"] for row in rows_of(whole.folder)] == [str(epoch) for epoch in range(1, 5)]
    assert same_weights(whole.weights, straight.weights)
    assert [row["train/loss"] for row in rows_of(whole.folder)] == [
        row["train/loss"] for row in rows_of(straight.folder)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_ends_a_run_with_workers_cleanly(options, number):
    words = ["train", "--data", options.data, "--model", options.model, "--project", options.project, "--epochs", "500"]
    more = ["--batch", "4", "--workers", "2", "--val-split", "none", "--device", "cpu"]
    command = [sys.executable, "-m", "multibox", *words, *more]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (Path(options.project) / "run/weights/last.ckpt").is_file():
        assert run.poll() is None
        time.sleep(0.05)
    os.killpg(run.pid, number)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 130
    assert "interrupted; --resume goes on" in out
    assert "Traceback" not in err
    assert err.count("ending after this step") == 1


def test_nothing_to_resume_is_said(tmp_path):
    with pytest.raises(UsageError, match="nothing to resume"):
        resume(tmp_path)


def test_images_without_any_object_are_learnt_as_background(options, tmp_path, render):
    empty = render(tmp_path / "empty", {"train": 4}, empty=True)
    result = train(replace(options, data=str(empty), names=("red", "blue"), val_split="none", epochs=1))
    assert float(rows_of(result.folder)[0]["train/loss"]) == 0.0


def test_a_loss_that_is_not_finite_names_the_term_the_rate_and_the_images(options):
    with pytest.raises(MultiboxError, match=r"not finite at step \d+ .*learning rate .*train0\d\d\.jpg"):
        train(replace(options, lr0=1e30, warmup_epochs=0.0, val_split="none"))


@pytest.mark.slow
def test_fine_tuning_takes_over_what_fits_by_class_name(options, tmp_path, caplog):
    first = train(replace(options, epochs=1, val_split="none"))
    fewer = replace(
        options, model=str(first.weights), names=("red", "blue"), lr0=1e-9, epochs=1, ema=0.0, val_split="none"
    )
    with caplog.at_level("INFO", logger="multibox"):
        second = train(fewer)
    assert "2 of 2 classes known" in caplog.text
    before, after = load_checkpoint(first.weights), load_checkpoint(second.weights)
    assert after.spec.labels.names == ("red", "blue")
    key = "head.classes.0.1.weight"
    columns = before.state[key].view(6, 3, -1), after.state[key].view(6, 3, -1)
    torch.testing.assert_close(columns[0][:, [0, 2, 1]], columns[1])


@pytest.mark.slow
def test_a_frozen_network_learns_its_head_alone(options):
    first = train(replace(options, epochs=1, val_split="none", ema=0.0))
    second = train(
        replace(options, model=str(first.weights), freeze=("backbone", "extras"), epochs=1, ema=0.0, val_split="none")
    )
    before, after = load_checkpoint(first.weights).state, load_checkpoint(second.weights).state
    changed = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"head"}


@pytest.mark.slow
def test_patience_ends_a_run_that_gets_no_better(options):
    result = train(replace(options, epochs=9, patience=1, lr0=1e-9, ema=0.0, freeze_norms=True))
    assert result.epochs == 2


@pytest.mark.slow
def test_a_trained_network_can_be_the_teacher(options):
    first = train(replace(options, epochs=1, val_split="none"))
    taught = train(replace(options, epochs=1, val_split="none", teacher=str(first.weights)))
    row = rows_of(taught.folder)[0]
    assert float(row["train/loss_teacher"]) > 0
    assert not any("teacher" in key for key in load_checkpoint(taught.weights).state)


def test_a_broken_annotation_stops_the_run_before_anything_is_written(options, tmp_path, render):
    broken = render(tmp_path / "broken", {"train": 4, "val": 2})
    (broken / "JPEGImages" / "train002.jpg").unlink()
    with pytest.raises(DataError, match=r"train002"):
        train(replace(options, data=str(broken)))
    assert not Path(options.project).exists()


def test_a_device_that_is_not_there_is_named(options):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UsageError, match="device 'cuda:0' is not there"):
        train(replace(options, device="cuda:0"))
