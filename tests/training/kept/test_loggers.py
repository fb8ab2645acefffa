"""Other loggers are told what `results.csv` holds, where they are installed."""

import importlib.util
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from multibox.errors import UsageError
from multibox.training.kept.loggers import make_loggers
from multibox.training.kept.results_table import read_rows
from multibox.training.train import train


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_names_the_extra(options, tmp_path, name):
    if importlib.util.find_spec(name):
        pytest.skip(f"{name} is installed")
    sentence = (
        rf"logger {name} needs the package {name}, which is not installed; run: pip install 'multibox\[loggers\]'"
    )
    with pytest.raises(UsageError, match=sentence):
        make_loggers(replace(options, logger=name), tmp_path)


@pytest.mark.slow
def test_mlflow_keeps_the_numbers_in_the_run_folder(options, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = train(replace(options, logger="mlflow", epochs=1)).folder
    with closing(sqlite3.connect(folder / "mlflow.db")) as file:
        told = dict(file.execute("select key, value from metrics"))
    row = read_rows(folder / "results.csv")[0]
    assert told["train/loss"] == pytest.approx(row["train/loss"], rel=1e-4)
    assert told["val/AP"] == pytest.approx(row["val/AP"], rel=1e-4)


@pytest.mark.slow
def test_wandb_works_offline(options, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = train(replace(options, logger="wandb", epochs=1)).folder
    assert list(Path(folder).glob("wandb/offline-run-*/*.wandb"))
