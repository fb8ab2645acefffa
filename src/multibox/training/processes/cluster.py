"""What Lightning is told of the processes: that they run already, one device each, joined in a group."""

from __future__ import annotations

from lightning.pytorch.plugins.environments import ClusterEnvironment, LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy, Strategy

from multibox.errors import UsageError
from multibox.training.options import TrainOptions
from multibox.training.processes import group
from multibox.training.processes.launched import find_processes


class Launched(ClusterEnvironment):  # type: ignore[misc]
    """The group as it is. Each process has one device, so to Lightning it is alone on its machine."""

    creates_processes_externally = True
    main_address = ""
    main_port = 0
    """Where the group met is past: it is formed before Lightning begins."""

    @staticmethod
    def detect() -> bool:
        """It is given, never looked for."""
        return False

    def world_size(self) -> int:
        """The number of processes."""
        return group.world()

    def global_rank(self) -> int:
        """The number of this process."""
        return group.rank()

    def node_rank(self) -> int:
        """As if each process had its own machine."""
        return group.rank()

    def local_rank(self) -> int:
        """The same: the first and only one there."""
        return 0

    def set_world_size(self, size: int) -> None:
        """The launcher has set it."""

    def set_global_rank(self, rank: int) -> None:
        """The launcher has set it."""


def environment() -> ClusterEnvironment:
    """Ours where there are several processes; else plainly none, whatever variables a scheduler has left."""
    return Launched() if group.world() > 1 else LightningEnvironment()


def strategy() -> Strategy | str:
    """Gradients are averaged over the processes; statistics of batch norms stay each rank's own, and rank 0's count."""
    if group.world() == 1:
        return "auto"
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)


def devices(options: TrainOptions, kind: str) -> list[int] | int:
    """The one device of this process, by number where it has one. Raises `UsageError` for a number that is none."""
    _, _, number = options.device.partition(":")
    if number and not number.isdecimal():
        raise UsageError(f"device '{options.device}' is none of auto, cpu, cuda, cuda:N, mps")
    if group.world() == 1:
        return [int(number)] if number else 1
    if number:
        raise UsageError(
            f"device '{options.device}' is one GPU, but {group.world()} processes train; use --device cuda"
        )
    return [group.gpu_of(find_processes())] if kind == "cuda" else 1


def synchronises_norms(options: TrainOptions, kind: str) -> bool:
    """Whether batch norms see all ranks' images. Raises `UsageError` on a device for which torch cannot do that."""
    if options.sync_bn and group.world() > 1 and kind != "cuda":
        raise UsageError(f"sync_bn works on GPUs only (torch's SyncBatchNorm), not on '{kind}'; leave it out")
    return options.sync_bn and group.world() > 1
