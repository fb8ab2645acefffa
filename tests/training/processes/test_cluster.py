"""What the trainer is told of devices and norms where there are several processes."""

from dataclasses import replace

import pytest

from multibox.errors import UsageError
from multibox.training.options import TrainOptions
from multibox.training.processes import cluster, group
from ranks import in_ranks

OPTIONS = TrainOptions(data="d", model="m", device="cpu", sync_bn=True)


def refusals() -> list[str]:
    said = []
    with group.joined("cpu"):
        for ask, options in (
            (cluster.synchronises_norms, OPTIONS),
            (cluster.devices, replace(OPTIONS, device="cuda:1")),
        ):
            try:
                ask(options, "cpu")
            except UsageError as error:
                said.append(str(error))
        environment = cluster.environment()
        said.append(f"{environment.global_rank()} of {environment.world_size()}, {environment.local_rank()}")
        said.append(str(replace(OPTIONS, batch=8, accumulate=3).total_batch))
    return said


def test_what_several_processes_cannot_do_is_said_in_a_sentence():
    for rank, (norms, device, where, total) in enumerate(in_ranks(2, refusals)):
        assert norms == "sync_bn works on GPUs only (torch's SyncBatchNorm), not on 'cpu'; leave it out"
        assert device == "device 'cuda:1' is one GPU, but 2 processes train; use --device cuda"
        assert where == f"{rank} of 2, 0"
        assert total == "48"


def test_one_process_has_its_device_by_number_and_nothing_to_synchronise():
    assert cluster.devices(replace(OPTIONS, device="cuda:3"), "cuda") == [3]
    assert cluster.devices(OPTIONS, "cpu") == 1
    assert not cluster.synchronises_norms(OPTIONS, "cpu")
    assert cluster.strategy() == "auto"
    with pytest.raises(UsageError, match="'cuda:x' is none of"):
        cluster.devices(replace(OPTIONS, device="cuda:x"), "cuda")
