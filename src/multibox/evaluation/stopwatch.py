"""A stopwatch: calls that take turns, and how their times are spread; an average without its spread is never given."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Call = Callable[[], object]

WARM_CALLS = 5
"""Calls that are not counted; 2 where these take longer than `WARM_SECONDS`."""
WARM_SECONDS = 1.0
_SPINNING = 0.03
"""Seconds for which the threads of some runtimes look for work after a call, at least."""
_LEAST_ROUNDS = 3
_MOST_ROUNDS = 100_000


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long is measured: `rounds` where given, else as many as `seconds` hold, and at least 3."""

    seconds: float = 2.0
    rounds: int | None = None

    def enough(self, rounds: int, seconds: float) -> bool:
        """Whether this many rounds in this time are enough."""
        if self.rounds is not None:
            return rounds >= self.rounds
        return (rounds >= _LEAST_ROUNDS and seconds >= self.seconds) or rounds >= _MOST_ROUNDS


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Percentiles of `calls` numbers. With fewer than 100 of them `p99` lies between the two largest."""

    p10: float
    p50: float
    p90: float
    p99: float
    calls: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The percentiles of at least one number."""
        p10, p50, p90, p99 = (float(value) for value in np.percentile(values, (10, 50, 90, 99)))
        return cls(p10=p10, p50=p50, p90=p90, p99=p99, calls=len(values))


def warm_up(call: Call) -> None:
    """Calls whose times are not counted."""
    start = time.perf_counter()
    for done in range(1, WARM_CALLS + 1):
        call()
        if done >= 2 and time.perf_counter() - start > WARM_SECONDS:
            return


def take_turns(sides: Mapping[str, Call], effort: Effort) -> dict[str, list[float]]:
    """Milliseconds of every call of every side, warm; number i of all sides comes from the same round.

    Sides take turns, so that what else the machine does meets all of them; every second round goes backwards, so that
    nobody always follows the same one. A turn of several sides is some calls of which the last counts: runtimes let
    their threads spin for a while after a call, and with few cores that would be paid by whoever comes next.
    """
    for call in sides.values():
        warm_up(call)
    times: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    start, rounds = time.perf_counter(), 0
    while not effort.enough(rounds, time.perf_counter() - start):
        for name in names if rounds % 2 == 0 else reversed(names):
            if len(sides) > 1:
                _settle(sides[name])
            before = time.perf_counter()
            sides[name]()
            times[name].append(1000 * (time.perf_counter() - before))
        rounds += 1
    return times


def _settle(call: Call) -> None:
    """Calls until the threads of others have gone to sleep, once at least."""
    start = time.perf_counter()
    call()
    while time.perf_counter() - start < _SPINNING:
        call()
