"""Work done ahead of its use, in threads, in order, with bounded memory: the next images while the network runs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_POLL = 0.1
"""Seconds after which a waiting producer looks whether its consumer has gone."""


def ahead(items: Iterable[T], work: Callable[[T], R], *, waiting: int, workers: int) -> Generator[R]:
    """`work(item)` of every item, in their order; `items` is read in one thread, `work` runs in `workers` threads.

    At most `waiting` results are begun and not yet taken, so memory does not grow with the number of items. An
    exception of `items` or of `work` is raised where its result would have come. Closing the iterator ends the threads.
    """
    line: queue.Queue[Future[R] | None] = queue.Queue(maxsize=max(1, waiting))
    stop = threading.Event()

    def put(entry: Future[R] | None) -> None:
        while not stop.is_set():
            try:
                line.put(entry, timeout=_POLL)
                return
            except queue.Full:
                continue

    def produce() -> None:
        try:
            for item in items:
                put(pool.submit(work, item))
                if stop.is_set():
                    return
        except BaseException as error:  # handed to the consumer, who raises it
            failed: Future[R] = Future()
            failed.set_exception(error)
            put(failed)
        put(None)

    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="multibox-read") as pool:
        thread = threading.Thread(target=produce, name="multibox-list", daemon=True)
        thread.start()
        try:
            while (entry := line.get()) is not None:
                yield entry.result()
        finally:
            stop.set()
            thread.join()
