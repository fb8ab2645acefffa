"""The verbs: their help in one line, the module of each, and how words are read (`--conf 0.3`, `conf=0.3`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup


class Verb(NamedTuple):
    """A verb's name and help; `home` is the module in this room whose function `NAME`, or whose `app`, it runs."""

    name: str
    help: str
    home: str
    hidden: bool = False


VERBS = (
    Verb("predict", "Detect objects in images, folders and videos.", "predict"),
    Verb("predict-many", "Detect objects in millions of pictures, with Ray.", "predict_many"),
    Verb("train", "Train a model on your own images.", "train"),
    Verb("evaluate", "Measure a model on a dataset: COCO's and VOC's metrics.", "evaluate"),
    Verb("val", "The same as evaluate.", "evaluate", hidden=True),
    Verb("benchmark", "Measure speed: latency, throughput, start, memory.", "benchmark"),
    Verb("export", "Write a model as ONNX, checked against torch.", "export"),
    Verb("convert", "Write another codebase's weights as a file of our own.", "convert"),
    Verb("models", "List the models, or show one.", "models"),
    Verb("recipes", "List the training recipes, or show one.", "recipes"),
    Verb("priors", "Fit a model's priors to your objects.", "priors"),
    Verb("doctor", "Check this installation.", "doctor"),
    Verb("checks", "The same as doctor.", "doctor", hidden=True),
    Verb("version", "Print the version.", "version"),
)

_ON_RAY = ("--ray", "ray")
"""With this option `predict` is `predict-many`: other options, and none that make no sense for millions of pictures."""

_KEY_VALUE = re.compile(r"(?P<key>[A-Za-z][A-Za-z0-9_-]*)=(?P<value>.*)", re.DOTALL)
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class VerbGroup(TyperGroup):
    """Lists the verbs without importing them, and imports the one that is used."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The verb's own command instead of the one that stands for it in the list, and its words."""
        if args[:1] == ["predict"] and any(word.partition("=")[0] in _ON_RAY for word in args):
            args = ["predict-many", *args[1:]]
        name, listed, words = super().resolve_command(ctx, args)
        verb = next((verb for verb in VERBS if verb.name == name), None)
        if verb is None:
            return name, listed, words
        command = load_command(verb)
        return name, command, spell_out(words, command.params)


def load_command(verb: Verb) -> Any:
    """The command that a verb runs: the Typer `app` of its module, or its function of the module's name."""
    module = import_module(f"multibox.cli.{verb.home}")
    app: typer.Typer | None = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})
        app.command(verb.name)(getattr(module, verb.home))
    command = typer.main.get_command(app)
    command.name = verb.name
    return command


def spell_out(words: Sequence[str], parameters: Sequence[Any]) -> list[str]:
    """Words of the form `key=value` as `--key value`, where `key` is one of the command's options or arguments.

    A switch takes yes or no (`save=false`). Everything else stays: unknown keys may be file names, and what follows an
    option is its value.
    """
    options = {name: parameter for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}
    spelled: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            return [*spelled, word, *rest]
        found = _KEY_VALUE.fullmatch(word)
        words_of = _spell(found["key"], found["value"], options) if found else None
        spelled += [word] if words_of is None else words_of
        option = options.get(word)
        if option is not None and word.startswith("-") and not getattr(option, "is_flag", False):
            spelled += [value for value in [next(rest, None)] if value is not None]
    return spelled


def _spell(key: str, value: str, options: dict[str, Any]) -> list[str] | None:
    """The words of one `key=value`; None where the key is unknown."""
    long = f"--{key.replace('_', '-')}"
    option = options.get(long)
    if option is None:
        return [value] if key in options else None  # the name of an argument
    if not getattr(option, "is_flag", False):
        return [long, value]
    if value.lower() in _YES:
        return [long]
    if value.lower() in _NO:
        return list(option.secondary_opts[:1])
    return [f"{long}={value}"]  # refused with the parser's own sentence
