"""The words typed for a training become its options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from multibox.training.options import TrainOptions


def options_of(given: dict[str, Any], config: Path | None) -> TrainOptions:
    """The words that were typed, over the file, over the recipe, over the defaults."""
    from multibox.errors import UsageError
    from multibox.training.options_file import make_options, read_options

    for needed in ("data", "model"):
        if needed not in given and config is None and (needed == "data" or "recipe" not in given):
            raise UsageError(f"--{needed} is missing; for example: multibox train --data FOLDER --model ssd300_vgg16")
    return read_options(config, given) if config else make_options(given)


def split_lists(given: dict[str, Any]) -> dict[str, Any]:
    """Words between commas as tuples, numbers where they are numbers."""
    for key in ("names", "freeze"):
        if key in given:
            given[key] = tuple(word.strip() for word in given[key].split(",") if word.strip())
    if "milestones" in given:
        try:
            given["milestones"] = tuple(float(word) for word in given["milestones"].split(","))
        except ValueError:
            raise typer.BadParameter(
                f"'{given['milestones']}' is not numbers between commas", param_hint="--milestones"
            ) from None
    return given
