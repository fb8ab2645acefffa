"""Priors fitted to a dataset: how well a model's priors fit its objects, and a sheet whose priors fit them better."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from multibox.data.check import refuse_fatal
from multibox.data.dataset import Dataset
from multibox.data.open import open_dataset
from multibox.network.build import build_model
from multibox.spec import ModelSpec
from multibox.training.coverage import Fit, boxes_on_input, fit_of
from multibox.training.options import TrainOptions
from multibox.zoo import is_weights_file
from multibox.zoo.create import create_spec
from multibox.zoo.fitting import checked, fit_spec
from multibox.zoo.models import find_weights, spec_of


@dataclass(frozen=True, kw_only=True)
class FittedPriors:
    """The fit of the model as it is, the new model with its counts, and its fit."""

    before: Fit
    after: Fit
    spec: ModelSpec
    priors_before: int

    @property
    def priors_after(self) -> int:
        """The number of the new model's priors."""
        assert self.spec.check is not None
        return self.spec.check.priors


def fit_priors(options: TrainOptions, *, most: int = 6) -> FittedPriors:
    """Fits levels and priors of `options.model` (a sheet, or a file with weights) to `options.split` of the data.

    Backbone and input may be others, as in a training. `most` is the largest number of shapes per cell. Raises
    `DataError` for data that cannot be used or have no objects, `ModelError`, `UsageError`.
    """
    dataset = open_dataset(options.data, options.split, names=options.names)
    refuse_fatal(dataset.problems)
    template = spec_of(find_weights(options.model)) if is_weights_file(options.model) else options.model
    model = create_spec(template, options.backbone, input_size=options.input_size)
    model = model.with_names(dataset.names, dataset.ids)
    network = build_model(model)
    boxes = [np.zeros((0, 4), np.float32), *boxes_on_input(dataset, model.input)]
    sizes = np.concatenate([each[:, 2:] - each[:, :2] for each in boxes])
    spec = checked(fit_spec(model, torch.from_numpy(sizes), most=most))
    return FittedPriors(
        before=fit_of(dataset, network),
        after=fit_of(dataset, build_model(spec)),
        spec=_described(spec, model, dataset, len(sizes)),
        priors_before=len(network.priors),
    )


def _described(spec: ModelSpec, model: ModelSpec, dataset: Dataset, count: int) -> ModelSpec:
    """The spec with a description of what its priors were fitted to."""
    words = f"{model.name} with levels and priors fitted to {count} objects of {dataset.root.name} ({dataset.split})."
    return replace(spec, description=words)
