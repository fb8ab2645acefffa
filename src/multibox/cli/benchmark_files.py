"""The files that `multibox benchmark` measures, made of what was named: weights, exported, torchvision's twin."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from multibox.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multibox.evaluation.benchmark import Subject
    from multibox.network.model import SSD

_logger = logging.getLogger("multibox.benchmark")


def prepare_subject(
    word: str, folder: Path, photo: Path, engines: Sequence[str] | None, *, random: bool, twin: bool
) -> Subject:
    """The subject of a word: 'default', an exported file as it is; weights or a sheet exported into `folder` too.

    `random` gives a sheet weights made up on `photo`; `twin` asks for torchvision's model too. Raises `UsageError`
    where these do not go together with the word, `ModelError` for what cannot be read.
    """
    from multibox.evaluation.benchmark import Subject

    if word == "default" or word.lower().endswith(".onnx"):
        if twin or random:
            option = "--against torchvision" if twin else "--random"
            raise UsageError(f"{option} needs a network's weights or a sheet, and {word} is an exported file")
        return Subject(label=word if word == "default" else Path(word).name, exported=_exported(word))
    folder.mkdir()
    network = _make_up(word, photo) if random else _load(word)
    weights = folder / "model.safetensors"
    _save(network, weights)
    exported, peer = None, None
    if engines is None or set(engines) - {"torch"}:
        exported = folder / "model.onnx"
        _export(network, exported)
    if twin:
        from multibox.evaluation.peer import save_twin

        peer = folder / "peer.pth"
        save_twin(network, peer)
    return Subject(label=network.spec.name, weights=weights, exported=exported, peer=peer)


def _exported(word: str) -> Path:
    """An exported file that is there and can be read."""
    from multibox import zoo
    from multibox.prediction.engines.onnx_file import read_onnx

    path = zoo.builtin_detector() if word == "default" else Path(word)
    read_onnx(path)
    return path


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


def _export(network: SSD, path: Path) -> None:
    """The file for the other engines, checked against torch as every export."""
    from multibox.exporting.onnx import export_onnx

    _logger.info("%s: exporting to ONNX for OpenVINO and ONNX Runtime", network.spec.name)
    export_onnx(network, path)
