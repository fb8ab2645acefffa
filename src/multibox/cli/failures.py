"""A failure becomes one sentence on stderr and an exit code by its kind."""

from __future__ import annotations

import typer

from multibox.errors import MultiboxError

_EXTRA = frozenset(
    ("torch", "torchvision", "timm", "lightning", "onnx", "onnxscript", "safetensors", "jaxtyping", "tensorboard")
)
"""Packages that only `pip install "multibox[train]"` brings."""


def exit_code(error: Exception) -> int:
    """Says what went wrong, and gives the exit code: the kind's own for `MultiboxError`, else 1."""
    if isinstance(error, MultiboxError):
        if not error.said:
            say(str(error))
        return error.exit_code
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in _EXTRA:
        say(f"this needs {package}, which is not installed; run: pip install 'multibox[train]'")
        return 1
    text = " ".join(str(error).split())
    say(f"{type(error).__name__}: {text or 'no details'} (--debug shows where)")
    return 1


def say(sentence: str) -> None:
    """One sentence on stderr, marked as an error."""
    typer.echo(f"error: {sentence}", err=True)
