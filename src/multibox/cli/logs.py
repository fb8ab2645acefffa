"""Where the library's log goes: plain lines on stderr; those on how far a download is write over each other."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stderr(logging.Handler):
    """Writes to what `sys.stderr` is at that moment, so that a live bar may move out of the way."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source
        self._over = False
        """Whether the line before is written over."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line; warnings say so. Records marked `live` stay until the next one, on a terminal."""
        mark = self._source + ("warning: " if record.levelno >= logging.WARNING else "")
        begin = "\r\x1b[K" if self._over else ""
        self._over = getattr(record, "live", False) and sys.stderr.isatty()
        sys.stderr.write(f"{begin}{mark}{record.getMessage()}{'' if self._over else chr(10)}")
        sys.stderr.flush()

    def end(self) -> None:
        """No more lines: what stands there stays."""
        if self._over:
            sys.stderr.write("\n")
            self._over = False


@contextmanager
def logs_to_stderr(quiet: bool, rank: int = 0) -> Iterator[None]:
    """The library's log lines on stderr while the context lasts; warnings alone where `quiet`.

    Of several processes rank 0 alone says more than warnings; the others put their number before them.
    """
    quiet = quiet or rank > 0
    logger, handler = logging.getLogger("multibox"), _Stderr(f"rank {rank}: " if rank else "")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        handler.end()
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
