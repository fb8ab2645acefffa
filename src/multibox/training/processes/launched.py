"""Which of the processes of one run this is, as its launcher says: torchrun, mpirun, srun, or none. Without torch."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from multibox.errors import UsageError

_HERE = "127.0.0.1"
_TORCH_PORT = 29500
_FIRST_PORT, _PORTS = 20000, 10000
"""Ports that are derived from the job: below those that Linux gives to clients (32768)."""


@dataclass(frozen=True, kw_only=True)
class Processes:
    """`rank` of `world` processes, `local_rank` among those of this machine; where rank 0 is to be met."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    launcher: str = "none"
    address: str = _HERE
    port: int = _TORCH_PORT


def find_processes(environ: Mapping[str, str] | None = None) -> Processes:
    """What the launcher's environment variables say; one process where there is no launcher.

    torchrun (and whatever sets RANK and WORLD_SIZE), then Open MPI, then PMI (MPICH, Intel MPI), then srun: launchers
    start each other in this order's reverse, so the innermost is taken. MASTER_ADDR and MASTER_PORT, where given, say
    where to meet. Raises `UsageError` for several machines of which nothing says which is the first.
    """
    given = os.environ if environ is None else environ
    for launcher in (_from_torchrun, _from_openmpi, _from_pmi, _from_slurm):
        found = launcher(given)
        if found is not None:
            return found if found.world > 1 else Processes(launcher=found.launcher)
    return Processes()


def _from_torchrun(given: Mapping[str, str]) -> Processes | None:
    """torchrun's variables, which every launcher of PyTorch sets."""
    if "RANK" not in given or "WORLD_SIZE" not in given:
        return None
    return Processes(
        rank=int(given["RANK"]),
        world=int(given["WORLD_SIZE"]),
        local_rank=int(given.get("LOCAL_RANK", given["RANK"])),
        launcher="torchrun" if "TORCHELASTIC_RUN_ID" in given else "RANK and WORLD_SIZE",
        address=given.get("MASTER_ADDR", _HERE),
        port=int(given.get("MASTER_PORT", _TORCH_PORT)),
    )


def _from_openmpi(given: Mapping[str, str]) -> Processes | None:
    """Open MPI's variables; the name of the job gives the port."""
    if "OMPI_COMM_WORLD_RANK" not in given:
        return None
    world, local = int(given["OMPI_COMM_WORLD_SIZE"]), int(given.get("OMPI_COMM_WORLD_LOCAL_SIZE", 1))
    job = given.get("PMIX_NAMESPACE") or f"parent {os.getppid()}"
    return Processes(
        rank=int(given["OMPI_COMM_WORLD_RANK"]),
        world=world,
        local_rank=int(given["OMPI_COMM_WORLD_LOCAL_RANK"]),
        launcher="mpirun (Open MPI)",
        address=_mpi_address(given, alone=local >= world, how="mpirun -x MASTER_ADDR=HOST ..."),
        port=_port(given, job),
    )


def _from_pmi(given: Mapping[str, str]) -> Processes | None:
    """The variables of MPICH, Intel MPI and others; on one machine the common parent gives the port."""
    if "PMI_RANK" not in given:
        return None
    world, rank = int(given["PMI_SIZE"]), int(given["PMI_RANK"])
    local_rank = given.get("MPI_LOCALRANKID", given.get("SLURM_LOCALID", rank))
    alone = int(given.get("MPI_LOCALNRANKS", given.get("SLURM_NTASKS_PER_NODE", 1))) >= world
    return Processes(
        rank=rank,
        world=world,
        local_rank=int(local_rank),
        launcher="mpirun (PMI)",
        address=_mpi_address(given, alone=alone, how="mpirun -genv MASTER_ADDR HOST ..."),
        port=_port(given, f"parent {os.getppid()}") if alone else int(given.get("MASTER_PORT", _TORCH_PORT)),
    )


def _from_slurm(given: Mapping[str, str]) -> Processes | None:
    """srun's variables. A batch script itself has no step: it is one process, whatever the number of tasks."""
    if "SLURM_STEP_NUM_TASKS" not in given:
        return None
    nodes = given.get("SLURM_STEP_NODELIST") or given.get("SLURM_JOB_NODELIST") or _HERE
    return Processes(
        rank=int(given["SLURM_PROCID"]),
        world=int(given["SLURM_STEP_NUM_TASKS"]),
        local_rank=int(given["SLURM_LOCALID"]),
        launcher="srun",
        address=given.get("MASTER_ADDR") or _first_host(nodes),
        port=_port(given, f"slurm {given.get('SLURM_JOB_ID')}.{given.get('SLURM_STEP_ID')}"),
    )


def _mpi_address(given: Mapping[str, str], *, alone: bool, how: str) -> str:
    """Where rank 0 is; MPI's launchers tell nobody its machine."""
    if "MASTER_ADDR" in given:
        return given["MASTER_ADDR"]
    if not alone:
        raise UsageError(f"mpirun on several machines: name the one of rank 0 in MASTER_ADDR ({how})")
    return _HERE


def _port(given: Mapping[str, str], job: str) -> int:
    """MASTER_PORT, or one that all processes of the job derive alike."""
    return int(given.get("MASTER_PORT", _FIRST_PORT + zlib.crc32(job.encode()) % _PORTS))


def _first_host(nodes: str) -> str:
    """`gpu[03-07,12],cpu1` -> `gpu03`."""
    found = re.match(r"([^,\[ ]+)(?:\[([^-,\]]+))?", nodes)
    return f"{found[1]}{found[2] or ''}" if found else nodes
