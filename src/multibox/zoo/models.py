"""A weights file, or a sheet whose weights are published -> the network with its weights in place."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from multibox.boxes.priors import shapes_per_cell
from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.sheet import changed
from multibox.spec import ModelSpec
from multibox.weights.fetch import fetch
from multibox.weights.source import Loaded, load_weights
from multibox.zoo import is_weights_file, load_spec

_CLASS_BIAS = re.compile(r"head\.(classes\.0|class_predictor)(\.\d+)?\.bias")


def load_model(model: str | Path) -> SSD:
    """The model of a weights file, ours or foreign (`weights.source`), or of a sheet's name where weights of it are
    published (`find_weights`), on the CPU in evaluation mode.

    Raises `ModelError` for a file that cannot be read, and for tensors that do not fit the spec, naming the first one.
    """
    return assemble(find_weights(model), str(model))


def find_weights(model: str | Path) -> Loaded:
    """The tensors of a weights file, or those published for a sheet (its name, alias or path), downloaded into the
    cache where they are not there yet (`weights.fetch`). The spec is then the sheet's, whatever else the keys fit.

    Raises `ModelError` for a file that cannot be read and for a sheet of which no weights are published.
    """
    if is_weights_file(model):
        return load_weights(model)
    spec = load_spec(model)
    if spec.weights is None:
        raise ModelError(
            f"model '{spec.name}' is a sheet without published weights; give a file with weights, "
            f"or make one with 'multibox train --model {model}'"
        )
    return as_sheet(load_weights(fetch(spec.weights.url, spec.weights.sha256)), spec)


def as_sheet(loaded: Loaded, spec: ModelSpec) -> Loaded:
    """The same tensors as weights of this sheet, instead of the one that was recognised."""
    return replace(loaded, spec=spec, sheet=None, names=(), changes={})


def spec_of(loaded: Loaded) -> ModelSpec:
    """The spec that came with the weights, or that of the sheet they belong to.

    Foreign weights may be somebody's own training of that architecture: where they have another number of classes,
    whose names the file does not hold, the classes are called `class 1`, `class 2`, ...
    """
    if loaded.spec is not None:
        return loaded.spec
    spec = changed(load_spec(str(loaded.sheet)), loaded.changes)
    count = (_columns_of(spec, loaded.state) or spec.columns) - int(spec.background)
    count = count or max(1, len(loaded.names))  # a sheet without names, told to be that of tensors which do not fit
    if len(loaded.names) == count and loaded.names != spec.labels.names:
        return spec.with_names(loaded.names)
    if count == len(spec.labels.names):
        return spec
    return spec.with_names(tuple(f"class {number + 1}" for number in range(count)))


def assemble(loaded: Loaded, where: str) -> SSD:
    """Builds the model of `loaded` and puts every tensor in its place; `where` names the file in errors."""
    model = build_model(spec_of(loaded))
    problem = _mismatch(model.state_dict(), loaded.state)
    if problem:
        raise ModelError(f"{where}: does not fit the model '{model.spec.name}' ({problem})")
    model.load_state_dict(loaded.state)
    return model.eval()


def _columns_of(spec: ModelSpec, state: dict[str, Tensor]) -> int | None:
    """Columns of the logits, told by the class predictor of the first level; none where that is not there or uneven."""
    bias = next((value for key, value in state.items() if _CLASS_BIAS.fullmatch(key)), None)
    shapes = shapes_per_cell(spec.priors.levels[0])
    if bias is None or bias.dim() != 1 or len(bias) % shapes or len(bias) // shapes <= int(spec.background):
        return None
    return len(bias) // shapes


def _mismatch(own: dict[str, Tensor], given: dict[str, Tensor]) -> str | None:
    """The first tensor that is missing, unknown or of another shape, and how many there are of the kind."""
    missing = [key for key in own if key not in given]
    unknown = [key for key in given if key not in own]
    other = [key for key in own if key in given and own[key].shape != given[key].shape]
    if missing:
        return f"'{missing[0]}' is missing, {len(missing)} such"
    if unknown:
        return f"'{unknown[0]}' is unknown, {len(unknown)} such"
    if other:
        return f"'{other[0]}' is {list(given[other[0]].shape)}, not {list(own[other[0]].shape)}, {len(other)} such"
    return None
