"""Launchers by their environment variables, as they set them (Open MPI 5.0, MPICH 5.0, SLURM 23.11)."""

import pytest

from multibox.errors import UsageError
from multibox.training.processes.launched import Processes, find_processes

OPENMPI = {
    "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "PMIX_NAMESPACE": "prterun-vm-12504@1",
}  # fmt: skip
MPICH = {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
SRUN = {
    "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "812",
    "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "gpu[03-04]",
}  # fmt: skip
TORCHRUN = {
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "gpu03", "MASTER_PORT": "4711",
    "TORCHELASTIC_RUN_ID": "x",
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "rank", "world", "local_rank", "address"),
    [
        (TORCHRUN, 3, 4, 1, "gpu03"),
        (OPENMPI, 1, 2, 1, "127.0.0.1"),
        (OPENMPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "1", "MASTER_ADDR": "n1"}, 1, 2, 1, "n1"),
        (MPICH, 1, 2, 1, "127.0.0.1"),
        (SRUN, 3, 4, 1, "gpu03"),
        (SRUN | {"SLURM_STEP_NODELIST": "a1,b[2,4]", "MASTER_ADDR": ""}, 3, 4, 1, "a1"),
        (SRUN | TORCHRUN | {"RANK": "2"}, 2, 4, 1, "gpu03"),
        (SRUN | OPENMPI, 1, 2, 1, "127.0.0.1"),
    ],
)
def test_each_launcher_says_which_process_this_is(given, rank, world, local_rank, address):
    found = find_processes(given)
    assert (found.rank, found.world, found.local_rank, found.address) == (rank, world, local_rank, address)


@pytest.mark.parametrize("given", [OPENMPI, MPICH, SRUN])
def test_all_processes_of_a_job_derive_the_same_port_and_another_can_be_given(given):
    other = given | {name: "0" for name in given if name.endswith(("RANK", "PROCID", "LOCALID", "RANKID"))}
    assert find_processes(given).port == find_processes(other).port
    assert 20000 <= find_processes(given).port < 30000
    assert find_processes(given | {"MASTER_PORT": "4711"}).port == 4711


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "812"},
        MPICH | {"PMI_RANK": "0", "PMI_SIZE": "1"},
        SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
    ],
    ids=["no launcher", "a batch script itself", "mpirun -n 1", "srun -n 1"],
)
def test_one_process_is_alone(given):
    found = find_processes(given)
    assert (found.rank, found.world) == (0, 1)
    assert found == Processes(launcher=found.launcher)


@pytest.mark.parametrize("given", [OPENMPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, MPICH | {"MPI_LOCALNRANKS": "1"}])
def test_mpirun_on_several_machines_needs_the_name_of_the_first(given):
    with pytest.raises(UsageError, match=r"name the one of rank 0 in MASTER_ADDR"):
        find_processes(given)
