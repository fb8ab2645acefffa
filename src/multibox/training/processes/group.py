"""What the processes of one run say to each other; alone, each of these is what one process would answer itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.distributed.rendezvous import rendezvous

from multibox.errors import MultiboxError, UsageError
from multibox.training.processes.launched import Processes, find_processes
from multibox.training.processes.watch import Watch

T = TypeVar("T")

_MEET = timedelta(minutes=5)
"""Within which all processes must have started."""
_ANSWER = timedelta(minutes=30)
"""Within which each must take part in what all do together: metrics of large data may take rank 0 minutes."""


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The launcher's processes as one group while the context lasts; one that ends takes the others with it (`Watch`).

    `device` is the kind that they compute on, `cpu` or `cuda`. Only rank 0 logs more than warnings. Raises `UsageError`
    for a device that cannot be shared, `MultiboxError` where the others do not come, and `RankLost` where one is lost.
    """
    processes = find_processes()
    if processes.world == 1 or _together():
        yield processes
        return
    _meet(processes, device)
    with Watch(processes, from_main), _quiet(logging.WARNING, processes.rank > 0):
        yield processes
    distributed.destroy_process_group()


def world() -> int:
    """The number of processes."""
    return distributed.get_world_size() if _together() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if _together() else 0


def is_main() -> bool:
    """Whether this is the one process that writes files and logs."""
    return rank() == 0


def from_main(thing: T) -> T:
    """What rank 0 gives, on every rank; all must call."""
    if world() == 1:
        return thing
    things = [thing]
    distributed.broadcast_object_list(things, src=0)
    return things[0]


def gather(thing: T) -> list[T] | None:
    """What each gives, in the order of ranks, on rank 0; none on the others. All must call."""
    if world() == 1:
        return [thing]
    things: list[T] | None = [thing] * world() if is_main() else None
    distributed.gather_object(thing, things, dst=0)
    return things


def agree(flag: bool) -> bool:
    """Whether any rank says so; all must call, and all get the same answer."""
    if world() == 1:
        return flag
    said = torch.tensor(float(flag))
    distributed.all_reduce(said, distributed.ReduceOp.MAX)
    return bool(said)


def mean(value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The mean over all ranks, without waiting for the device; all must call. No gradient goes through it."""
    if world() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / world()


@torch.no_grad()
def send_state(module: nn.Module) -> None:
    """Gives every rank rank 0's parameters and buffers, such as the statistics of batch norms, which differ by rank."""
    if world() == 1:
        return
    for tensor in (*module.parameters(), *module.buffers()):
        sent = tensor.detach().contiguous()  # channels-last tensors cannot be sent as they are
        distributed.broadcast(sent, src=0)
        tensor.copy_(sent)


@contextmanager
def main_first() -> Iterator[None]:
    """Rank 0 does this before the others, so that it alone fetches what is missing; they do it without a word."""
    if not is_main():
        from_main(None)
    with _quiet(logging.ERROR, not is_main()):
        yield
    if is_main():
        from_main(None)


def _together() -> bool:
    """Whether a group has been formed."""
    return distributed.is_available() and distributed.is_initialized()


def _meet(processes: Processes, device: str) -> None:
    """Forms the group: gloo for what lies in memory, NCCL for what lies on GPUs."""
    if device not in ("cpu", "cuda"):
        raise UsageError(f"{processes.world} processes cannot share the device '{device}'; use cpu or cuda")
    if device == "cuda":
        torch.cuda.set_device(gpu_of(processes))
    place = f"tcp://{processes.address}:{processes.port}"
    try:
        store, number, count = next(rendezvous(place, processes.rank, processes.world, timeout=_MEET))
        store.set_timeout(_ANSWER)
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        distributed.init_process_group(backend, store=store, rank=number, world_size=count, timeout=_ANSWER)
    except (RuntimeError, ValueError) as error:  # torch's DistError is a RuntimeError
        raise MultiboxError(
            f"rank {processes.rank} of {processes.world} ({processes.launcher}) did not meet the others at "
            f"{processes.address}:{processes.port}; MASTER_ADDR and MASTER_PORT say where rank 0 can be reached "
            f"({' '.join(str(error).split())[:200]})"
        ) from error


def gpu_of(processes: Processes) -> int:
    """The GPU of this process: that of its place on the machine, or the only one that the launcher shows it."""
    return processes.local_rank % max(1, torch.cuda.device_count())


@contextmanager
def _quiet(level: int, when: bool) -> Iterator[None]:
    """Only log lines of at least this level while the context lasts."""
    logger = logging.getLogger("multibox")
    before = logger.level
    if when:
        logger.setLevel(max(level, before))
    try:
        yield
    finally:
        logger.setLevel(before)
