"""`--devices N` starts the command again under torchrun, once."""

import os
import sys

import pytest

from multibox.cli.launch import start_devices
from multibox.errors import UsageError


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    words: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: words.append(arguments))
    monkeypatch.setattr(sys, "argv", ["multibox", "train", "--devices", "3", "--model", "x"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return words


def test_several_devices_are_started_by_torchrun(started):
    start_devices(3)
    (words,) = started
    assert words[1:] == [
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3",
        "-m", "multibox", "train", "--devices", "3", "--model", "x",
    ]  # fmt: skip


def test_the_started_processes_and_a_single_one_start_nothing(started, monkeypatch):
    start_devices(None)
    start_devices(1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    start_devices(3)
    assert not started
    with pytest.raises(UsageError, match="--devices is 4, but RANK and WORLD_SIZE started 3"):
        start_devices(4)
