"""Starts a model for new classes from a trained one: everything that fits is kept, class rows by the class's name."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from multibox.network.model import SSD
from multibox.spec import ModelSpec
from multibox.weights.source import Loaded
from multibox.zoo.models import spec_of

_CLASS_PREDICTORS = re.compile(r"head\.(classes\.\d+|class_predictor)(\.|$)")
_PART = re.compile(r"head\.[a-z_]+|[a-z_]+")


@dataclass(frozen=True, kw_only=True)
class Report:
    """Keys of tensors: taken over, left as they were initialised, and given but of no use."""

    loaded: tuple[str, ...]
    reinitialised: tuple[str, ...]
    unused: tuple[str, ...]
    classes: tuple[str, ...]
    """Names of the classes whose rows were taken over."""
    misfits: tuple[str, ...]
    """Names that both know, but whose rows do not fit: another kind of score, or other priors per cell."""

    def parts(self) -> dict[str, tuple[int, int]]:
        """By part of the network (`backbone`, `extras`, `head.classes`, ...) how many of its tensors were taken over,
        and how many it has."""
        taken = Counter(_part(key) for key in self.loaded)
        every = taken + Counter(_part(key) for key in self.reinitialised)
        return {part: (taken[part], every[part]) for part in sorted(every)}


def transfer(model: SSD, loaded: Loaded) -> Report:
    """Copies into `model` every tensor of `loaded` with the same key and shape, and of the class predictors the rows of
    the classes (and the background) that both know by name; other rows stay as initialised.

    A class predictor counts as loaded where at least one class's rows were taken over.
    """
    own, source = model.state_dict(), spec_of(loaded)
    predictors = _class_keys(model)
    columns = _shared_columns(source, model.spec)
    shared = tuple(name for name in model.spec.labels.names if name in source.labels.names)
    done: set[str] = set()
    with torch.no_grad():
        for key, value in loaded.state.items():
            if key not in own:
                continue
            if key in predictors:
                fits = bool(columns) and _copy_rows(own[key], value, columns, model.spec.columns, source.columns)
            else:
                fits = own[key].shape == value.shape
                if fits:
                    own[key].copy_(value)
            if fits:
                done.add(key)
    known = bool(predictors.intersection(done))
    return Report(
        loaded=tuple(key for key in own if key in done),
        reinitialised=tuple(key for key in own if key not in done),
        unused=tuple(key for key in loaded.state if key not in done),
        classes=shared if known else (),
        misfits=() if known else shared,
    )


def _part(key: str) -> str:
    """The part of the network that a tensor belongs to: the key's first word, or two in the head."""
    found = _PART.match(key)
    return found[0] if found else key


def _class_keys(model: SSD) -> set[str]:
    """Keys of the tensors that have rows per class: the last convolution of every class predictor."""
    last: dict[str, str] = {}
    for name, module in model.named_modules():
        found = _CLASS_PREDICTORS.match(name)
        if found and isinstance(module, nn.Conv2d):
            last[found[1]] = name
    return {f"{name}.{kind}" for name in last.values() for kind in ("weight", "bias")}


def _shared_columns(source: ModelSpec, target: ModelSpec) -> list[tuple[int, int]]:
    """(column here, column there) of the background and of every class that both name; none where the kinds of score
    differ, as the rows then mean something else.
    """
    if source.activation != target.activation:
        return []
    here, there = _columns(target), _columns(source)
    return [(column, there[name]) for name, column in here.items() if name in there]


def _columns(spec: ModelSpec) -> dict[str | None, int]:
    """Class name -> column of the logits; the background is `None`."""
    first = int(spec.background)
    named: dict[str | None, int] = {name: first + i for i, name in enumerate(spec.labels.names)}
    return {None: 0, **named} if spec.background else named


def _copy_rows(
    own: Tensor, given: Tensor, columns: list[tuple[int, int]], own_columns: int, given_columns: int
) -> bool:
    """Copies the rows of `columns` in every prior shape; false where shapes per cell or inputs differ."""
    if given.shape[0] % given_columns:
        return False
    here = own.view(-1, own_columns, *own.shape[1:])
    there = given.reshape(-1, given_columns, *given.shape[1:])
    if here.shape[0] != there.shape[0] or here.shape[2:] != there.shape[2:]:
        return False
    for column, other in columns:
        here[:, column] = there[:, other]
    return True
