"""What an output folder was begun for, kept in it, so that nothing else is ever mixed into it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from multibox.errors import MultiboxError, UsageError
from multibox.scale.files import Place, content, names_in, write

NAME = "_job.json"
_PART = "part-{:06d}.parquet"


@dataclass(frozen=True, kw_only=True)
class Job:
    """The pictures, the model and the options of a run; all of it decides what the results are.

    `model` is the SHA-256 of the model's file, `names` are its classes. `version` is the library's that began it.
    """

    sources: tuple[str, ...]
    model: str
    engine: str
    precision: str | None
    conf: float | None
    max_det: int | None
    classes: tuple[str, ...] | None
    shard_size: int
    names: tuple[str, ...]
    version: str

    def as_json(self) -> str:
        """The job as text."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)


_SAID = {
    "sources": "the sources",
    "model": "a model with the SHA-256",
    "engine": "the engine",
    "precision": "--precision",
    "conf": "--conf",
    "max_det": "--max-det",
    "classes": "--classes",
    "shard_size": "--shard-size",
}
"""What must be the same when a run goes on, and how it is called."""


def part_name(shard: int) -> str:
    """The file name of a shard's results."""
    return _PART.format(shard)


def done_shards(output: Place) -> set[int]:
    """The shards whose results are there, complete."""
    names = [name for name in names_in(output) if name.startswith("part-") and name.endswith(".parquet")]
    return {int(name[5:-8]) for name in names if name[5:-8].isdecimal()}


def read_job(output: Place) -> Job | None:
    """The job that a folder was begun for; None where it holds none.

    Raises `UsageError` for a folder that holds Parquet files of somebody else, and `MultiboxError` for a damaged job.
    """
    names = names_in(output)
    if NAME not in names:
        foreign = next((name for name in sorted(names) if name.endswith(".parquet") and not name.startswith("_")), None)
        if foreign:
            raise UsageError(f"{output.path}: holds '{foreign}', which is not of such a run; choose an empty --output")
        return None
    place = output.beside(NAME)
    try:
        table = json.loads(content(place))
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
        }
        return Job(**fields)
    except (OSError, ValueError, TypeError):
        raise MultiboxError(f"{place.path}: is not the description of a run; choose another --output") from None


def write_job(output: Place, job: Job) -> None:
    """Keeps the job in its folder."""
    write(output.beside(NAME), job.as_json().encode())


def check_same(output: Place, begun: Job, wanted: Job) -> None:
    """Raises `UsageError` naming the first thing in which a run differs from the one that the folder was begun for."""
    for field, said in _SAID.items():
        old, new = getattr(begun, field), getattr(wanted, field)
        if old != new:
            raise UsageError(
                f"{output.path}: was begun with {said} {_text(old)}, not {_text(new)}; choose another --output"
            )


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
