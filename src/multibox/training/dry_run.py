"""A training up to its first step: everything is read, checked and resolved, and nothing is written or fetched."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, replace
from typing import Any

from multibox.data.dataset import Dataset
from multibox.network.cost import count_macs
from multibox.network.model import SSD
from multibox.training.kept.run_folder import free_folder
from multibox.training.loop.optimizer import freeze_parts, hold_norms, make_optimizer
from multibox.training.loop.schedule import epoch_steps, make_schedule, milestone_steps, warmup_length
from multibox.training.loop.trainer import accelerator_of
from multibox.training.options import TrainOptions
from multibox.training.processes.launched import find_processes
from multibox.training.recipe import load_recipe
from multibox.training.setup import Setup, augmentation, prepare_training
from multibox.zoo import is_weights_file

Report = dict[str, dict[str, Any]]


def dry_run(options: TrainOptions) -> Report:
    """The resolved run by subject, in plain types. Raises what the training would raise before its first step.

    Weights that would be fetched are not: neither ImageNet's of a backbone nor those published for a sheet.
    """
    published = options.weights is not None and not is_weights_file(options.weights)
    offline = replace(options, pretrained_backbone=False, weights=None if published else options.weights)
    setup = prepare_training(offline)
    setup = replace(setup, options=replace(setup.options, weights=options.weights))
    freeze_parts(setup.network, options.freeze)
    hold_norms(setup.network, options.freeze_norms)
    backbone = "ImageNet's weights" if options.pretrained_backbone else "as initialised"
    report = {
        "recipe": _recipe(options),
        "data": _data(setup),
        "model": {**_model(setup), "start": options.start or f"from scratch, the backbone {backbone}"},
        **_learning(setup),
    }
    return {**report, **_run(setup)}


def _recipe(options: TrainOptions) -> dict[str, Any]:
    """Which one, whose numbers, and what it cannot say."""
    if options.recipe is None:
        return {"name": None}
    recipe = load_recipe(options.recipe)
    source = asdict(recipe.source)
    return {"name": recipe.name, "description": recipe.description, **source, "differs": list(recipe.differs)}


def _data(setup: Setup) -> dict[str, Any]:
    """Images and objects, by split and class, and the share of objects that have a prior, by size."""
    splits = {each.split: _split(each) for each in (setup.train, setup.val) if each}
    shares = {size: round(share, 4) for size, (share, _) in setup.fit.by_size().items()}
    return {"folder": setup.options.data, "classes": list(setup.train.names), "splits": splits, "covered": shares}


def _split(dataset: Dataset) -> dict[str, Any]:
    """Images, those without objects, and objects by class."""
    counts = Counter(int(label) for record in dataset.records for label in record.labels)
    objects = {name: counts[index] for index, name in enumerate(dataset.names)}
    empty = sum(not len(record.labels) for record in dataset.records)
    return {"images": len(dataset), "without_objects": empty, "objects": objects}


def _model(setup: Setup) -> dict[str, Any]:
    """What is trained, and what it costs."""
    network, spec = setup.network, setup.network.spec
    parameters = list(network.parameters())
    return {
        "name": spec.name,
        "backbone": spec.backbone.name,
        "input": [spec.input.width, spec.input.height],
        "parameters": sum(each.numel() for each in parameters),
        "learning": sum(each.numel() for each in parameters if each.requires_grad),
        "priors": len(network.priors),
        "gmacs": round(count_macs(network) / 1e9, 3),
        "frozen": list(setup.options.freeze),
        "frozen_norms": setup.options.freeze_norms,
    }


def _learning(setup: Setup) -> Report:
    """Batch, length, rate, optimizer, what is drawn and what is lost."""
    options, rules = setup.options, setup.options.rules(setup.network.spec)
    steps = epoch_steps(options, len(setup.train))
    drawn = augmentation(options)
    return {
        "batch": {
            "images": options.batch,
            "accumulate": options.accumulate,
            "processes": find_processes().world,
            "total": options.total_batch,
        },
        "length": {"epochs": options.epochs, "steps_per_epoch": steps, "steps": options.epochs * steps},
        "rate": {
            "lr0": options.lr0,
            "from": _origin(options),
            "schedule": options.schedule,
            "at": _rates(options, steps),
        },
        "optimizer": {
            "name": options.optimizer,
            "momentum": options.momentum,
            "groups": _groups(setup.network, options),
        },
        "augmentation": asdict(drawn),
        "loss": asdict(rules),
        "averaging": {"decay": options.ema},
    }


def _origin(options: TrainOptions) -> str:
    """Where the rate comes from, in words."""
    if options.recipe is None:
        return "as given, or the model's for this batch"
    recipe = load_recipe(options.recipe)
    rate, batch = recipe.options["lr0"], recipe.options["batch"]
    assert options.lr0 is not None
    if math.isclose(options.lr0, rate * options.total_batch / batch):
        return f"{rate:g} for {batch} images -> {options.lr0:g} for {options.total_batch}"
    return f"as given; the recipe's is {rate:g} for {batch} images"


def _rates(options: TrainOptions, steps: int) -> dict[str, float]:
    """Step -> rate, where it is of interest: the ends of the warm-up and the training, milestones, and between."""
    total, factor = options.epochs * steps, make_schedule(options, steps)
    assert options.lr0 is not None
    chosen = {0, warmup_length(options, steps), total // 4, total // 2, total * 3 // 4, total - 1}
    if options.schedule == "step":
        chosen |= {step for milestone in milestone_steps(options, steps) for step in (milestone - 1, milestone)}
    return {str(step): options.lr0 * factor(step) for step in sorted(chosen) if 0 <= step < total}


def _groups(network: SSD, options: TrainOptions) -> list[dict[str, Any]]:
    """Tensors that learn by the same rule."""
    return [
        {"tensors": len(group["params"]), "lr": group["lr"], "weight_decay": group["weight_decay"]}
        for group in make_optimizer(network, options).param_groups
    ]


def _run(setup: Setup) -> Report:
    """On what it would run, and where it would write."""
    options = setup.options
    device = accelerator_of(options)
    return {
        "device": {"kind": device, "precision": options.amp, "workers": options.workers, "seed": options.seed},
        "run": {"folder": str(free_folder(options))},
    }
