"""Where a long run's log goes: plain lines on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stderr(logging.Handler):
    """Writes to what `sys.stderr` is at that moment, so that a live bar may move out of the way."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line; warnings say so."""
        mark = "warning: " if record.levelno >= logging.WARNING else ""
        sys.stderr.write(f"{mark}{record.getMessage()}\n")
        sys.stderr.flush()


@contextmanager
def logs_to_stderr(quiet: bool) -> Iterator[None]:
    """The library's log lines on stderr while the context lasts; warnings alone where `quiet`."""
    logger, handler = logging.getLogger("multibox"), _Stderr()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
