"""A stopwatch for two ways of doing one thing: they take turns, so that other load on the machine touches both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def compare(name: str, theirs: Callable[[], object], ours: Callable[[], object], rounds: int, wanted: float) -> None:
    """Prints the median wall and CPU milliseconds of both sides and their ratios, after a round that is not counted."""
    taken: dict[str, list[tuple[float, float]]] = {"theirs": [], "ours": []}
    for _ in range(rounds + 1):
        for side, call in (("theirs", theirs), ("ours", ours)):
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            taken[side].append((time.perf_counter() - wall, time.process_time() - cpu))
    (wall, cpu), (our_wall, our_cpu) = (
        [statistics.median(column) * 1e3 for column in zip(*times[1:], strict=True)] for times in taken.values()
    )
    print(f"{name:<26} torchvision {wall:8.2f} ms  multibox {our_wall:8.2f} ms  ratio {wall / our_wall:5.1f}x", end="")
    print(f"  (CPU time {cpu:.2f} / {our_cpu:.2f} = {cpu / our_cpu:.1f}x; wanted {wanted:g}x)")
