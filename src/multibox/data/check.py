"""Everything wrong with a dataset, named before the first step: file, object, value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from multibox.data.dataset import Dataset, Problem, Record
from multibox.errors import DataError
from multibox.images.read import read_size

_SHOWN = 5


def check_dataset(dataset: Dataset) -> list[Problem]:
    """All problems: those met while reading, names that differ in case only, and images that disagree or do not open.

    Headers of all images are read (some ten microseconds each), pixels are not.
    """
    problems = list(dataset.problems) + _check_names(dataset)
    for record in dataset.records:
        problems += _check_image(record)
    return problems


def refuse_fatal(problems: Sequence[Problem]) -> None:
    """Raises `DataError` naming the first fatal problems, if there is one."""
    fatal = [problem for problem in problems if problem.fatal]
    if fatal:
        shown = "; ".join(str(problem) for problem in fatal[:_SHOWN])
        more = f"; and {len(fatal) - _SHOWN} more" if len(fatal) > _SHOWN else ""
        raise DataError(f"the dataset has {len(fatal)} unusable entries: {shown}{more}")


def _check_names(dataset: Dataset) -> list[Problem]:
    """Names that are one class to a reader and two to the training."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in dataset.names:
        alike[name.strip().casefold()].append(f"'{name}'")
    return [
        Problem(
            dataset.root, "", f"the names {' and '.join(group)} differ in case only and are separate classes", False
        )
        for group in alike.values()
        if len(group) > 1
    ]


def _check_image(record: Record) -> list[Problem]:
    """Whether the image opens, and has the size that its annotation states."""
    try:
        size = read_size(record.path)
    except DataError as error:
        return [Problem(record.path, "", str(error), True)]
    if size == (record.width, record.height):
        return []
    message = f"the image is {size[0]} x {size[1]}, its annotation says {record.width} x {record.height}"
    return [Problem(record.path, "", f"{message}; boxes are taken as pixels of the image", False)]
