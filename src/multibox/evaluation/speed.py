"""What a benchmark measured: one row per engine, precision and batch; as JSON and in plain types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from multibox.evaluation.stopwatch import Spread

STEPS = ("decode", "resize", "network", "post")
"""The parts of a call, in their order; `engine` stands for the last two where they cannot be told apart."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as fast as the peer: `times` by the medians, `low` and `high` are percentiles 10 and 90 of the
    single rounds, in which both were called one after the other; and the peer's milliseconds."""

    times: float
    low: float
    high: float
    peer: Spread


@dataclass(frozen=True, kw_only=True)
class SpeedRow:
    """One configuration, measured in a process of its own.

    `latency` is milliseconds per call (`batch` pictures, JPEG bytes to detections), `rate` pictures per second of a
    stream, `steps` milliseconds per call of its parts one after the other. `start_seconds` runs from the start of the
    process to its first detections, `peak_megabytes` is the most memory it held (none where the system does not tell).
    """

    model: str
    engine: str
    precision: str
    batch: int
    threads: int
    latency: Spread
    rate: Spread
    steps: Mapping[str, Spread]
    start_seconds: float
    peak_megabytes: float | None
    against: Ratio | None = None

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.model} {self.engine} {self.precision} batch {self.batch}"

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> SpeedRow:
        """The inverse of `dataclasses.asdict`."""
        against = plain["against"]
        given = {
            **plain,
            "latency": Spread(**plain["latency"]),
            "rate": Spread(**plain["rate"]),
            "steps": {name: Spread(**spread) for name, spread in plain["steps"].items()},
            "against": against and Ratio(**{**against, "peer": Spread(**against["peer"])}),
        }
        return cls(**given)


@dataclass(frozen=True, kw_only=True)
class SpeedReport:
    """The rows; what holds for all of them; and a sentence for everything that was not measured."""

    rows: tuple[SpeedRow, ...]
    threads: int
    cores: int
    pictures: str
    warm_up: str
    versions: Mapping[str, str]
    peer: str | None = None
    problems: tuple[str, ...] = ()
    """Configurations that failed."""
    notes: tuple[str, ...] = field(default=())
    """What was left out, and why."""

    def to_json(self) -> str:
        """Everything, indented."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)
