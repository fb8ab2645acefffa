"""The detector's classes and the dataset's, brought together by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multibox.errors import DataError, did_you_mean
from multibox.evaluation.columns import Ints


@dataclass(frozen=True)
class Names:
    """`label_of[i]` is the dataset's label of the detector's class i, -1 where the dataset lacks it.

    `missing` are names of the dataset that the detector lacks, `dropped` the other way round.
    """

    label_of: Ints
    missing: tuple[str, ...]
    dropped: tuple[str, ...]


def match_names(detector: Sequence[str], dataset: Sequence[str]) -> Names:
    """Matches by name: the very same first, then by letters and digits alone (`tvmonitor` is `TV monitor`).

    Raises `DataError` where no name is common to both.
    """
    exact = {name: label for label, name in enumerate(dataset)}
    loose = {_plain(name): label for label, name in enumerate(dataset)}
    label_of = np.array([exact.get(name, loose.get(_plain(name), -1)) for name in detector], np.int64)
    if (label_of < 0).all():
        hint = next(filter(None, (did_you_mean(name, detector) for name in dataset)), "")
        raise DataError(
            f"the model and the dataset have no class in common: the model knows {_some(detector)}, "
            f"the dataset has {_some(dataset)}{hint}"
        )
    known = set(label_of.tolist())
    return Names(
        label_of,
        missing=tuple(name for label, name in enumerate(dataset) if label not in known),
        dropped=tuple(dict.fromkeys(name for name, label in zip(detector, label_of, strict=True) if label < 0)),
    )


def _plain(name: str) -> str:
    """The letters and digits of a name, in lower case; the name itself where it has none."""
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name


def _some(names: Sequence[str]) -> str:
    """The first names, enough to recognise the list."""
    shown = ", ".join(f"'{name}'" for name in names[:4])
    return f"{shown}, ... ({len(names)})" if len(names) > 4 else shown or "none"
