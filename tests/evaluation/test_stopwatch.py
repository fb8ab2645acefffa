"""The stopwatch: turns are taken, warm calls do not count, spreads are percentiles."""

import time
from itertools import chain, cycle

import numpy as np
import pytest

from multibox.evaluation.stopwatch import WARM_CALLS, Effort, Spread, take_turns, warm_up


def test_sides_take_turns_and_every_second_round_goes_backwards(monkeypatch):
    monkeypatch.setattr("multibox.evaluation.stopwatch._SPINNING", 0.0)
    said: list[str] = []
    sides = {name: (lambda name=name: said.append(name)) for name in "abc"}
    times = take_turns(sides, Effort(rounds=4))
    assert "".join(said[3 * WARM_CALLS :]) == "".join(2 * name for name in "abccbaabccba")
    assert {name: len(values) for name, values in times.items()} == {"a": 4, "b": 4, "c": 4}


def test_the_first_call_of_a_turn_does_not_count(monkeypatch):
    monkeypatch.setattr("multibox.evaluation.stopwatch._SPINNING", 0.0)
    naps = chain(WARM_CALLS * [0.0], cycle((0.02, 0.0)))
    times = take_turns({"nap": lambda: time.sleep(next(naps)), "nothing": lambda: None}, Effort(rounds=5))
    assert np.median(times["nap"]) < 10


def test_short_calls_are_repeated_until_the_threads_of_others_sleep():
    called: list[float] = []
    sides = {"nap": lambda: called.append(time.sleep(0.005)), "nothing": lambda: None}
    take_turns(sides, Effort(rounds=1))
    assert 2 < len(called) - WARM_CALLS <= 30 / 5 + 1


def test_times_are_milliseconds_of_the_call():
    (taken,) = take_turns({"nap": lambda: time.sleep(0.004)}, Effort(rounds=3)).values()
    assert all(4 <= value < 1000 for value in taken)


def test_seconds_are_an_end_but_three_rounds_are_made_at_least():
    assert len(take_turns({"nap": lambda: time.sleep(0.01)}, Effort(seconds=0.001))["nap"]) == 3
    assert len(take_turns({"nothing": lambda: None}, Effort(seconds=0.01))["nothing"]) > 3


def test_slow_calls_are_warmed_up_with_two(monkeypatch):
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr("multibox.evaluation.stopwatch.time.perf_counter", lambda: next(clock))
    calls: list[int] = []
    warm_up(lambda: calls.append(1))
    assert len(calls) == 2


def test_a_spread_is_percentiles_and_one_number_is_all_of_them():
    values = np.random.default_rng(0).permutation(np.arange(101.0)).tolist()
    assert Spread.of(values) == Spread(p10=10, p50=50, p90=90, p99=99, calls=101)
    assert Spread.of([3.0]) == Spread(p10=3, p50=3, p90=3, p99=3, calls=1)


@pytest.mark.parametrize("calls", [1, 7, 250])
def test_percentiles_rise(calls):
    spread = Spread.of(np.random.default_rng(calls).gamma(2, size=calls).tolist())
    assert spread.p10 <= spread.p50 <= spread.p90 <= spread.p99
    assert spread.calls == calls
