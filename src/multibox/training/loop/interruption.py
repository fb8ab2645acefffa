"""A clean end when the user or the system asks for one."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from multibox.errors import MultiboxError
from multibox.training.processes import group

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 20.0
"""Seconds that a step may take to end after a signal; whoever sent it may kill 10 seconds later."""


class Interrupted(Exception):
    """The user or the system asked the training to end."""


class TooLate(MultiboxError):
    """One of several processes could not wait for the others to end the step; it takes them with it."""

    exit_code = 130


class Interruption:
    """SIGINT and SIGTERM ask for an end after the running step; a second one ends at once."""

    def __init__(self) -> None:
        """Nothing is asked for yet."""
        self.asked: str | None = None
        """The signal's name."""
        self._patience: threading.Timer | None = None
        self._listens = self._late = self._idle = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Signals are noted while the context lasts, where this thread may listen."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.getsignal(number) for number in _SIGNALS}
        self._listens = True
        self.listen()
        try:
            yield
        finally:
            self._listens = False
            if self._patience:
                self._patience.cancel()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def listen(self) -> None:
        """Takes the signals back where another handler was put before ours.

        Lightning's would end the process after the epoch as if all had gone well, and talk to other ranks in a handler.
        """
        if self._listens:
            for number in _SIGNALS:
                signal.signal(number, self._note)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, a signal raises `Interrupted` where it arrives: for long work that is done again by a resume."""
        if self.asked is not None:
            raise Interrupted(self.asked)
        self._idle = True
        try:
            yield
        finally:
            self._idle = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        """The first signal is noted; the timer's ends the step that takes too long; any other acts at once."""
        if self._late:
            self._late = False
            if group.world() > 1:
                raise TooLate(f"{self.asked}: the step takes too long; --resume goes on after the last checkpoint")
            raise Interrupted(self.asked)
        if self.asked is not None:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name
        log.info("ending after this step; once more to end at once")
        if self._idle:
            raise Interrupted(self.asked)
        self._patience = threading.Timer(_PATIENCE, self._end, (number,))
        self._patience.daemon = True
        self._patience.start()

    def _end(self, number: int) -> None:
        """In the timer's thread: has the main thread interrupted."""
        self._late = True
        os.kill(os.getpid(), number)
