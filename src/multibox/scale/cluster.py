"""Ray: started here or joined at an address, and Ray Data's pool of workers that take shard after shard."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from multibox.errors import MultiboxError, UsageError
from multibox.scale.files import short
from multibox.scale.worker import Outcome, Setup, ShardWorker

_BLOCKS = 10_000
"""Blocks of Ray Data's at most; where there are more shards, a block holds several."""
_OBJECTS = 256 << 20
"""Bytes of shared memory of a Ray started here; nothing but the model lies in it."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Where the work is done, and by how many: `count` None takes all CPUs (or GPUs) that the cluster has.

    `ray` is `local` (started here, ended after), `auto` (the one on this machine), or an address. `threads` are the
    CPUs of each worker, `gpus` the GPUs of each, 0.5 for two on one.
    """

    ray: str = "local"
    count: int | None = None
    threads: int = 1
    gpus: float = 0.0

    def __post_init__(self) -> None:
        """Raises `UsageError` for numbers that make no sense."""
        if self.threads < 1 or self.gpus < 0 or (self.count is not None and self.count < 1):
            raise UsageError(
                f"--workers and --threads are 1 or more and --gpus is 0 or more, "
                f"not {self.count}, {self.threads} and {self.gpus:g}"
            )


@contextmanager
def joined(workers: Workers) -> Iterator[None]:
    """Ray is up while this lasts. One that this process has joined before is used and left as it is.

    What is started here listens on the loopback address only, shows no dashboard and reports nothing to anybody.
    Raises `MultiboxError` where Ray cannot be started or reached.
    """
    ray = _import_ray(local=workers.ray == "local")
    if ray.is_initialized():
        yield
        return
    address: dict[str, Any] = {"address": workers.ray}
    if workers.ray == "local":
        address |= {"include_dashboard": False, "object_store_memory": _OBJECTS}
        address |= {"num_cpus": workers.count * workers.threads} if workers.count else {}
    try:
        ray.init(**address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # a start that takes too long is a plain one
        ray.shutdown()  # what was started before it failed
        raise MultiboxError(f"--ray {workers.ray}: Ray cannot be started or reached ({short(error)})") from None
    try:
        yield
    finally:
        ray.shutdown()


def _import_ray(*, local: bool) -> Any:
    """Ray, told to be silent and, for one that is started here, to stay on this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its C++ parts write to stderr, past all logging
    if local and "ray" not in sys.modules:  # read once, by the import; makes the loopback address this node's own
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray
    import ray.data

    return ray


def run_shards(shards: Sequence[int], setup: Setup, workers: Workers) -> Iterator[Outcome]:
    """The outcomes of shards as they come, in no order; fewer than asked for where Ray lost one for good.

    A worker that dies is replaced, and its shard begun again. Raises `MultiboxError` where Ray ends early, and
    `UsageError` where the cluster has no room for a single worker.
    """
    import ray

    count = _room(workers, len(shards))
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1  # a shard that is lost ends no others; it is missed at the end
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    with ray.data.DataContext.current(context), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own deprecated parts
        numbers = ray.data.from_items(
            [{"shard": shard} for shard in shards], override_num_blocks=min(len(shards), _BLOCKS)
        )
        outcomes = numbers.map_batches(
            ShardWorker,
            fn_constructor_args=(setup,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=1),
            num_cpus=workers.threads,
            num_gpus=workers.gpus or None,
        )
        try:
            for row in outcomes.iter_rows():
                yield Outcome(**row)
        except ray.exceptions.RayError as error:
            raise MultiboxError(
                f"Ray ended early ({short(error)}); run the same command again, and it goes on where it stopped"
            ) from None


def _room(workers: Workers, shards: int) -> int:
    """How many workers to start: as asked for, else as many as fit, but never more than there are shards."""
    import ray

    has = ray.cluster_resources()
    fits = int(has.get("CPU", 0) // workers.threads)
    if workers.gpus:
        fits = min(fits, int(has.get("GPU", 0) // workers.gpus))
    if workers.count is None and fits < 1:
        raise UsageError(
            f"the cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs, too few for one worker with "
            f"{workers.threads} and {workers.gpus:g}; ask for less, or say --workers N where it grows by itself"
        )
    return min(workers.count or fits, shards)
