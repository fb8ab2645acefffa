"""When a run over live sources ends: after so many frames or seconds, or by a signal, with its files complete."""

from __future__ import annotations

import math
import signal
import time
from types import FrameType, TracebackType

from multibox.errors import UsageError

INTERRUPTED = 130
"""The exit code of a run that a signal ended."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """Says whether it is time, as a context in which signals only ask for it; a second signal ends at once.

    `interrupted` tells that a signal asked.
    """

    def __init__(self, frames: int | None, seconds: float | None, *, signals: bool) -> None:
        """`seconds` count from the first frame; without `signals` these do what they always do.

        Raises `UsageError` for limits that are not above 0.
        """
        if (frames is not None and frames < 1) or (seconds is not None and seconds <= 0):
            raise UsageError(f"max-frames and seconds are above 0, not {frames if seconds is None else seconds:g}")
        self._frames = frames
        self._seconds, self._until = seconds, math.inf
        self._signals = _SIGNALS if signals else ()
        self._before = {number: signal.getsignal(number) for number in self._signals}
        self.interrupted = False

    def __enter__(self) -> Ending:
        """Itself, listening."""
        for number in self._signals:
            signal.signal(number, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Signals do again what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether time is up or a signal came; a live source that gives nothing asks this, too."""
        return self.interrupted or time.monotonic() >= self._until

    def after(self, frames: int) -> bool:
        """Whether the run ends after so many frames, of which there is one now."""
        if frames == 1 and self._seconds is not None:
            self._until = time.monotonic() + self._seconds
        return self() or (self._frames is not None and frames >= self._frames)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        """The handler; it does nothing that could wait for what it interrupted."""
        self.interrupted = True
        for number, handler in self._before.items():
            signal.signal(number, handler)
