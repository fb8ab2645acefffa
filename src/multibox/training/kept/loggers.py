"""Where a run's numbers go beside `results.csv`: TensorBoard's files always, Weights & Biases or MLflow where asked."""

from __future__ import annotations

import os
from pathlib import Path

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from multibox.errors import UsageError
from multibox.training.options import TrainOptions
from multibox.training.options_file import to_table
from multibox.training.processes import group


def make_loggers(options: TrainOptions, folder: Path) -> list[Logger]:
    """Rank 0's loggers; none on the others. Raises `UsageError` for a package that is not installed."""
    if not group.is_main():
        return []
    loggers: list[Logger] = [TensorBoardLogger(folder, name="", version="tensorboard")]
    if options.logger != "none":
        loggers.append(_other(options, folder))
        loggers[-1].log_hyperparams(to_table(options))
    return loggers


def _other(options: TrainOptions, folder: Path) -> Logger:
    """The one that is asked for. Both look for their server in the environment; MLflow's else is a file."""
    project = Path(options.project).name or "multibox"
    try:
        if options.logger == "wandb":
            return WandbLogger(project=project, name=folder.name, save_dir=folder)
        place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.resolve() / 'mlflow.db'}"
        return MLFlowLogger(experiment_name=project, run_name=folder.name, tracking_uri=place)
    except ModuleNotFoundError:
        raise UsageError(
            f"logger {options.logger} needs the package {options.logger}, which is not installed; "
            "run: pip install 'multibox[loggers]'"
        ) from None
