"""Every failure a user can cause, as one sentence with an exit code by kind."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MultiboxError(Exception):
    """Base of all expected failures: its text is one sentence that names the thing and the way out (exit code 1)."""

    exit_code = 1
    said = False
    """Whether another process of the same run says it."""


class UsageError(MultiboxError):
    """The call's words are off: an unknown option, a value out of range (exit code 2)."""

    exit_code = 2


class DataError(MultiboxError):
    """An image, an annotation or a dataset cannot be used (exit code 3)."""

    exit_code = 3


class ModelError(MultiboxError):
    """A sheet, a checkpoint or a model file cannot be used (exit code 4)."""

    exit_code = 4


class ExportError(MultiboxError):
    """An exported file could not be made or does not agree with its source (exit code 5)."""

    exit_code = 5


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest of `known`, or an empty string where nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""
