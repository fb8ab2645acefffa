"""Several processes on this machine without a launcher's command: `--devices N` becomes torchrun."""

from __future__ import annotations

import os
import sys

from multibox.errors import UsageError
from multibox.training.processes.launched import find_processes


def start_devices(devices: int | None) -> None:
    """Replaces this process by torchrun, which starts the same command line as so many processes.

    Nothing happens in those, or for one device. Raises `UsageError` where another launcher started another number.
    """
    processes = find_processes()
    if devices is None or devices == processes.world:
        return
    if processes.launcher != "none":
        raise UsageError(f"--devices is {devices}, but {processes.launcher} started {processes.world}; leave it out")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))  # torchrun's choice is 1
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(devices)]
    os.execv(sys.executable, [*torchrun, "-m", "multibox", *sys.argv[1:]])
