"""Several processes: what they say to each other, and how they end together."""

import os
import signal
import time

import pytest
import torch
from torch import nn

from multibox.errors import DataError, UsageError
from multibox.training.processes import group
from multibox.training.processes.watch import RankLost
from ranks import in_ranks, start_ranks


def talk() -> tuple[object, ...]:
    with group.joined("cpu") as processes:
        network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)).to(memory_format=torch.channels_last)
        with torch.no_grad():
            for tensor in network.state_dict().values():
                tensor.fill_(processes.rank + 1)
        group.send_state(network)
        state = {float(tensor.sum() / tensor.numel()) for tensor in network.state_dict().values()}
        one, none = group.agree(processes.rank == 1), group.agree(False)
        mean = float(group.mean(torch.tensor(float(processes.rank))))
        return (
            group.world(),
            group.is_main(),
            one,
            none,
            mean,
            group.from_main(processes.rank),
            group.gather("x"),
            state,
        )


def test_ranks_agree_average_and_hear_rank_0():
    first, second = in_ranks(2, talk)
    assert first == (2, True, True, False, 0.5, 0, ["x", "x"], {1.0})
    assert second == (2, False, True, False, 0.5, 0, None, {1.0})


def test_one_process_answers_itself():
    with group.joined("mps") as processes:
        assert (processes.world, group.world(), group.rank()) == (1, 1, 0)
        assert group.gather(3) == [3]
        assert group.agree(True) and not group.agree(False)
        assert float(group.mean(torch.tensor(2.0))) == 2.0


def end(lost: int, how: str) -> tuple[str, bool, float] | None:
    started = time.monotonic()
    try:
        with group.joined("cpu") as processes:
            group.agree(True)
            started = time.monotonic()
            if processes.rank == lost:
                if how == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise DataError("photo 7 cannot be read")
            if how == "waited for":
                time.sleep(0.5)
            group.agree(True)
    except RankLost as error:
        return str(error), error.said, time.monotonic() - started
    except DataError:
        return None
    return "no end", False, 0.0


@pytest.mark.parametrize("lost", [0, 1])
def test_a_killed_rank_ends_the_others_with_the_cause(lost):
    with start_ranks(3, end, lost, "killed") as ranks:
        for rank, (process, pipe) in enumerate(ranks):
            if rank == lost:
                process.join(60)
                assert process.exitcode == -signal.SIGKILL
                continue
            assert pipe.poll(60)
            ok, (sentence, said, seconds) = pipe.recv()
            assert ok and f"rank {lost} of 3 (process {ranks[lost][0].pid} on " in sentence
            assert "ended without a word" in sentence
            assert said == (lost == 1 and rank == 2)
            assert seconds < 20


def test_a_failed_rank_tells_the_others_why():
    first, second = in_ranks(2, end, 1, "failed")
    assert second is None
    assert first[:2] == ("rank 1 of 2: photo 7 cannot be read", False)
    first, second = in_ranks(2, end, 0, "waited for")
    assert first is None
    assert second[:2] == ("rank 0 of 2: photo 7 cannot be read", True)


def hang() -> None:
    with group.joined("cpu") as processes:
        if processes.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)


@pytest.mark.slow
def test_a_process_that_hangs_while_another_is_lost_is_ended():
    with start_ranks(2, hang) as ranks:
        process = ranks[0][0]
        process.join(40)
        assert process.exitcode == 1


def meet_on(device: str) -> str:
    try:
        with group.joined(device):
            return ""
    except UsageError as error:
        return str(error)


def test_a_device_that_cannot_be_shared_is_refused():
    assert in_ranks(2, meet_on, "mps") == ["2 processes cannot share the device 'mps'; use cpu or cuda"] * 2
