"""Which engine runs a model fastest on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from multibox.evaluation.stopwatch import Effort, Spread, take_turns
from multibox.prediction.engines.base import Engine


def race(engines: Sequence[Engine], seconds: float = 1.0) -> dict[str, float]:
    """Median milliseconds of one picture on each engine, all in turns for so many `seconds`."""
    spec = engines[0].spec.input
    picture = np.random.default_rng(0).integers(0, 256, (1, spec.height, spec.width, 3), np.uint8)
    times = take_turns({engine.name: partial(engine.run, picture) for engine in engines}, Effort(seconds=seconds))
    return {name: Spread.of(each).p50 for name, each in times.items()}
