"""The files that `multibox benchmark` measures, made of what was named: weights, exported, torchvision's twin."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from multibox.errors import UsageError

if TYPE_CHECKING:
    from multibox.evaluation.benchmark import Subject
    from multibox.network.model import SSD

_logger = logging.getLogger("multibox.benchmark")
_OWN_FILE = ("fp16", "int8")
"""Precisions that are chosen by the export; fp32 and bf16 run from one file."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked of weights and sheets: `photo` is the picture on which `random` weights are made up, `calibration`
    the images for int8, `twin` torchvision's own model."""

    photo: Path
    precisions: tuple[str, ...]
    engines: tuple[str, ...] | None
    calibration: Path | None
    random: bool
    twin: bool


def prepare_subjects(word: str, folder: Path, wish: Wish) -> list[Subject]:
    """What a word stands for: 'default' or an exported file as it is; weights or a sheet, on torch and exported into
    `folder` once for every precision.

    Raises `UsageError` where the wish does not go together with the word, `ModelError` for what cannot be read and
    `ExportError` for a precision that cannot be exported.
    """
    from multibox.evaluation.benchmark import Subject
    from multibox.prediction.engines import is_exported

    if word == "default" or is_exported(Path(word)):
        if wish.twin or wish.random:
            option = "--against torchvision" if wish.twin else "--random"
            raise UsageError(f"{option} needs a network's weights or a sheet, and {word} is an exported file")
        return [_as_it_is(word)]
    folder.mkdir()
    network = _make_up(word, wish.photo) if wish.random else _load(word)
    weights, peer, label = folder / "model.safetensors", None, network.spec.name
    _save(network, weights)
    if wish.twin:
        from multibox.evaluation.peer import save_twin

        peer = folder / "peer.pth"
        save_twin(network, peer)
    subjects = [Subject(label=label, file=weights, peer=peer)] if set(wish.precisions) - set(_OWN_FILE) else []
    if wish.engines is None or set(wish.engines) - {"torch"}:
        for precision in dict.fromkeys(word if word in _OWN_FILE else "fp32" for word in wish.precisions):
            file = _export(network, folder, precision, wish.calibration)
            subjects.append(Subject(label=label, file=file, precision=precision, peer=peer))
    return subjects


def _as_it_is(word: str) -> Subject:
    """An exported file that is there, read for its precision."""
    from multibox import zoo
    from multibox.evaluation.benchmark import Subject
    from multibox.prediction.engines import open_engine
    from multibox.prediction.engines.onnx_file import read_onnx

    path = zoo.builtin_detector() if word == "default" else Path(word)
    if path.suffix.lower() == ".onnx":
        precision: str = read_onnx(path).precision
    else:
        precision = open_engine(path).description.precision  # type: ignore[attr-defined]
    return Subject(label=word if word == "default" else path.name, file=path, precision=precision)


def _load(word: str) -> SSD:
    """The network of a weights file or of a sheet."""
    from multibox.zoo.models import load_model

    return load_model(word)


def _make_up(word: str, photo: Path) -> SSD:
    """A sheet's network with random weights."""
    from multibox.evaluation.made_up import PAIRS, make_up
    from multibox.images.prepare import prepare
    from multibox.images.read import read_image
    from multibox.zoo import is_weights_file, load_spec

    if is_weights_file(word):
        raise UsageError(f"--random takes a sheet, and {word} is a file with weights")
    spec = load_spec(word)
    if not spec.labels.names:
        spec = spec.with_names(tuple(f"class {number + 1}" for number in range(80)))
    _logger.info("%s: random weights, about %d (prior, class) pairs pass the threshold", spec.name, PAIRS)
    return make_up(spec, prepare(read_image(photo), spec.input).pixels)


def _save(network: SSD, path: Path) -> None:
    """The weights as a file of our own."""
    from multibox.weights import checkpoint

    checkpoint.save(path, network.state_dict(), network.spec)


def _export(network: SSD, folder: Path, precision: str, calibration: Path | None) -> Path:
    """The file for the other engines, checked against torch as every export. Raises `UsageError` and `ExportError`."""
    from multibox.exporting.export import export_model
    from multibox.exporting.order import make_order

    order = make_order(
        "onnx",
        precision=precision,  # type: ignore[arg-type]
        calibration=calibration if precision == "int8" else None,
    )
    _logger.info("%s: exporting to %s in %s", network.spec.name, order.format, precision)
    return export_model(network, folder / f"model.{precision}{order.kind.ending}", order).files[0]
