"""Whatever happens while a checkpoint is written, a whole one is there."""

import multiprocessing
import os
import random
import resource
import signal
import time
from pathlib import Path

import pytest
import torch

from multibox.errors import ModelError, MultiboxError
from multibox.training.kept.checkpoints import newest_checkpoint, previous_of, remove_drafts, write_checkpoint


def state(number: int) -> dict[str, object]:
    return {"number": number, "weights": torch.full((50_000,), float(number))}


def is_whole(found: dict[str, torch.Tensor]) -> bool:
    return bool((found["weights"] == found["number"]).all())


def test_the_newest_is_read_and_the_one_before_is_kept(tmp_path):
    path = tmp_path / "last.ckpt"
    for number in range(3):
        write_checkpoint(state(number), path)
    found, content = newest_checkpoint(path)
    assert (found, content["number"]) == (path, 2)
    assert newest_checkpoint(previous_of(path))[1]["number"] == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["last.ckpt", "last.prev.ckpt"]


@pytest.mark.parametrize("broken", [b"", b"PK\x03\x04 cut off", None])
def test_a_broken_or_absent_one_is_said_and_the_previous_one_taken(tmp_path, caplog, broken):
    path = tmp_path / "last.ckpt"
    for number in range(2):
        write_checkpoint(state(number), path)
    path.unlink() if broken is None else path.write_bytes(broken)
    found, content = newest_checkpoint(path)
    assert (found, content["number"]) == (previous_of(path), 0)
    assert "last.ckpt is" in caplog.text and "going on from" in caplog.text


def test_with_both_broken_the_sentence_names_both(tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"x")
    with pytest.raises(ModelError, match=r"last.ckpt is broken; last.prev.ckpt is absent\); start the run again"):
        newest_checkpoint(path)


def test_a_full_disk_is_one_sentence_and_the_previous_checkpoint_stays(tmp_path):
    path = tmp_path / "last.ckpt"
    write_checkpoint(state(1), path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(MultiboxError, match=r"last.ckpt: the checkpoint cannot be written \(.*make room"):
            write_checkpoint(state(2), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert newest_checkpoint(path)[1]["number"] == 1
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


def write_for_ever(path: Path, first: int) -> None:
    torch.set_num_threads(1)
    for number in range(first, 1_000_000):
        write_checkpoint(state(number), path)


@pytest.mark.slow
def test_a_kill_at_any_of_100_moments_leaves_a_whole_checkpoint(tmp_path):
    path, fork, seen = tmp_path / "last.ckpt", multiprocessing.get_context("fork"), 0
    write_checkpoint(state(0), path)
    draw = random.Random(0)
    halves = 0
    for _ in range(100):
        writer = fork.Process(target=write_for_ever, args=(path, seen + 1))
        writer.start()
        time.sleep(draw.uniform(0.005, 0.04))
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        content = newest_checkpoint(path)[1]
        assert is_whole(content) and content["number"] >= seen
        seen = content["number"]
        halves += len(list(tmp_path.glob(".*.part*")))
        remove_drafts(tmp_path)
    assert seen > 10 and halves > 10
