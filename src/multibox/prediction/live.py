"""Live sources: each is read in a thread of its own, the newest frame wins, a lost connection is made again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multibox.errors import DataError
from multibox.prediction.addresses import shown
from multibox.prediction.capture import Capture, open_capture

log = logging.getLogger(__name__)

_POLL = 0.1
"""Seconds after which a waiting thread looks whether it should end."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds between two tries to connect; each pause is twice as long as the one before."""

_FAREWELL = 1.0
"""Seconds that the end waits for a reading thread; one that hangs in a read ends by itself later."""


@dataclass(frozen=True, kw_only=True)
class Live:
    """How live sources are read; files know none of this.

    After a lost connection up to `reconnect` tries in a row are made. `timeout` is in seconds: without an answer or a
    frame for so long the connection counts as lost. `stop` is asked some times per second and ends all live sources.
    """

    reconnect: int = 5
    timeout: float = 10.0
    stop: Callable[[], bool] | None = None


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One frame as it came, or, with `error`, why no more will come.

    `source` is the place of its address in the list. `number` counts the source's frames from 0, also those that nobody
    saw; `dropped` of them had to make room for newer ones. `arrived` is on the clock `time.monotonic`, `at` is seconds
    since the first frame, `fps` the declared rate.
    """

    source: int
    number: int = 0
    pixels: npt.NDArray[np.uint8] | None = None
    arrived: float = 0.0
    at: float = 0.0
    fps: float = 0.0
    dropped: int = 0
    error: str | None = None


def watch(addresses: Sequence[str], stride: int, live: Live, *, most: int) -> Generator[list[Shot]]:
    """The newest frames of all sources, in turn, up to `most` at once and never two of one source; ends when all ended.

    Takes every `stride`-th frame. Closing the iterator ends the threads.
    """
    bell = threading.Condition()
    feeds = [_Feed(place, address, stride, live, bell) for place, address in enumerate(addresses)]
    for feed in feeds:
        feed.start()
    try:
        while feeds and not (live.stop and live.stop()):
            with bell:
                if not any(feed.ready for feed in feeds):
                    bell.wait(_POLL)
                    continue
                turn = [feed for feed in feeds if feed.ready][:most]
                shots = [shot for feed in turn if (shot := feed.take()) is not None]
                waiting = [feed for feed in feeds if feed not in turn]
                feeds = waiting + [feed for feed in turn if not feed.ended]
            if shots:
                yield shots
    finally:
        for feed in feeds:
            feed.stop()
        for feed in feeds:
            feed.join(_FAREWELL)


def _tries(number: int) -> str:
    """`1 new try`, `2 new tries`."""
    return f"{number} new {'try' if number == 1 else 'tries'}"


class _Feed(threading.Thread):
    """Reads one source; holds its newest frame until that is taken. `ready`, `ended`, `take` want the bell held."""

    def __init__(self, place: int, address: str, stride: int, live: Live, bell: threading.Condition) -> None:
        super().__init__(name=f"multibox-live-{place}", daemon=True)
        self._place, self._address, self._stride, self._live, self._bell = place, address, stride, live, bell
        self._stop_asked = threading.Event()
        self._held: Shot | None = None
        self._over = False
        self._seen = self._dropped = 0
        self._first = 0.0

    @property
    def ready(self) -> bool:
        """Whether there is something to take, or nothing more to wait for."""
        return self._held is not None or self._over

    @property
    def ended(self) -> bool:
        """Whether all was taken."""
        return self._over and self._held is None

    def take(self) -> Shot | None:
        """The newest frame, or the word about the end; none at a quiet end."""
        shot, self._held = self._held, None
        self._bell.notify_all()
        return shot

    def stop(self) -> None:
        """Asks the thread to end."""
        self._stop_asked.set()

    def run(self) -> None:
        """Connects, reads, and connects again, until the end or the last try."""
        error = None
        try:
            self._read_all()
        except DataError as failure:
            error = f"{shown(self._address)}: {failure}"
        except Exception as failure:  # whatever a driver raises; nobody else would hear of it
            error = f"{shown(self._address)}: {type(failure).__name__}: {failure}"
        with self._bell:
            while error is not None and self._held is not None and not self._stop_asked.is_set():
                self._bell.wait(_POLL)  # the last frame goes first
            if error is not None:
                self._held = Shot(source=self._place, error=error)
            self._over = True
            self._bell.notify_all()

    def _read_all(self) -> None:
        """All connections, one after the other. Raises `DataError` for the last one's end."""
        tries = 0
        while not self._stop_asked.is_set():
            seen = self._seen
            try:
                self._read_once()
                return
            except DataError as error:
                if self._stop_asked.is_set():
                    return
                tries = 1 if self._seen > seen else tries + 1
                if self._seen == 0:
                    raise  # it was never there: a wrong address is said at once
                if tries > self._live.reconnect:
                    given_up = f"; given up after {_tries(tries - 1)}" if tries > 1 else ""
                    raise DataError(f"{error}{given_up}") from None
                self._pause(tries, error)

    def _pause(self, tries: int, error: DataError) -> None:
        """Says what happened and waits before the next try."""
        seconds = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (tries - 1))
        log.warning(
            f"{shown(self._address)}: {error}; connecting again in {seconds:g} s "
            f"(try {tries} of {self._live.reconnect})"
        )
        self._stop_asked.wait(seconds)

    def _read_once(self) -> None:
        """One connection, to its end. Raises `DataError` where it is not made or breaks."""
        capture = open_capture(self._address, self._live.timeout)
        try:
            while not self._stop_asked.is_set() and capture.grab():
                self._seen += 1
                if (self._seen - 1) % self._stride == 0:
                    self._put(capture)
        finally:
            capture.close()

    def _put(self, capture: Capture) -> None:
        """Holds the frame that was grabbed, in the place of an older one; those of a recording wait for theirs."""
        arrived = time.monotonic()
        self._first = self._first or arrived
        number, pixels = self._seen - 1, capture.pixels()
        with self._bell:
            while capture.recorded and self._held is not None and not self._stop_asked.is_set():
                self._bell.wait(_POLL)
            self._dropped += self._held is not None
            self._held = Shot(
                source=self._place,
                number=number,
                pixels=pixels,
                arrived=arrived,
                at=number / capture.fps if capture.recorded else arrived - self._first,
                fps=capture.fps / self._stride,
                dropped=self._dropped,
            )
            self._bell.notify_all()
