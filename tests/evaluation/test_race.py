"""A race of engines is won by the one that takes less time."""

from __future__ import annotations

import time

import numpy as np

from bright import BrightEngine
from multibox.evaluation.race import race


class Sleeper(BrightEngine):
    """An engine that takes its time."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__()
        self.name, self._seconds = name, seconds

    def run(self, batch: np.ndarray) -> list:
        time.sleep(self._seconds)
        return []


def test_the_engine_that_takes_less_time_wins_the_race() -> None:
    times = race([Sleeper("slow", 0.02), Sleeper("quick", 0.002)], seconds=0.1)
    assert times["slow"] > 2 * times["quick"] > 3
