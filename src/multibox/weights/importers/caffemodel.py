"""A .caffemodel as tensors: a protocol buffer that holds a whole network, each layer with its settings and its blobs.

Source: the numbers of `src/caffe/proto/caffe.proto` in weiliu89/caffe, branch ssd. Both generations of the file are
read: `layer` (100), and the older `layers` (2), whose blobs state four sizes instead of a shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from multibox.errors import ModelError
from multibox.weights.importers.contract import Foreign
from multibox.weights.importers.protobuf import BYTES, Value, by_number, fields, floats, integers, messages, text

FORMAT = "caffe"
"""`Foreign.about["format"]` of such a file."""

_NAME, _INPUT, _STATE, _INPUT_SHAPE = 1, 3, 6, 8
_SETTINGS = (4, 5, 7)
"""Numbers of a network's other fields that may stand before its first layer: input sizes and switches."""
_LAYER, _OLD_LAYER = 100, 2
_FIRST_FIELDS = {_LAYER: b"\x0a", _OLD_LAYER: b"\x12\x1a\x22"}
"""With what a layer can begin: its name; in the older form its inputs, its outputs or its name."""
_PLACES = {_LAYER: (1, 7), _OLD_LAYER: (4, 6)}
"""Where a layer has its name and its blobs."""
_PRIOR_BOX = 203
_FLOATS, _DOUBLES, _SHAPE, _OLD_SHAPE = 5, 8, 7, (1, 2, 3, 4)


class PriorBox(NamedTuple):
    """The settings of a PriorBox layer; sizes in pixels, `steps` (down, across) 0 where they are input / map size."""

    min_sizes: tuple[float, ...]
    max_sizes: tuple[float, ...]
    ratios: tuple[float, ...]
    flip: bool
    clip: bool
    variances: tuple[float, ...]
    steps: tuple[float, float]
    offset: float


def looks_like(head: bytes) -> bool:
    """Whether these first bytes are those of a network: known fields of right type until the first layer begins."""
    try:
        for number, wire, value in fields(head, beginning=True):
            if number in (_LAYER, _OLD_LAYER):
                return wire == BYTES and bytes(messages([value])[0][:1]) in _FIRST_FIELDS[number]
            if number not in (_NAME, _INPUT, _STATE, _INPUT_SHAPE, *_SETTINGS):
                return False
    except ModelError:
        pass
    return False


def read(path: Path) -> Foreign:
    """The blobs of all layers as `LAYER.INDEX`, and as `about["priors"]` the PriorBox of every layer that is one.

    Raises `ModelError` naming the file where it is cut off or damaged.
    """
    try:
        foreign = _read(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except ModelError as error:
        raise ModelError(f"{path}: not a whole .caffemodel ({error}); copy it again") from None
    if not foreign.state:
        raise ModelError(f"{path}: a network without weights; give the .caffemodel of a training")
    return foreign


def _read(data: bytes) -> Foreign:
    """The whole file."""
    state: dict[str, Tensor] = {}
    priors: dict[str, PriorBox] = {}
    for number, _, value in fields(data):
        if number not in _PLACES:
            continue
        name_at, blobs_at = _PLACES[number]
        layer = by_number(messages([value])[0])
        name = text(layer[name_at][0]) if name_at in layer else ""
        for index, blob in enumerate(messages(layer.get(blobs_at, []))):
            state[f"{name}.{index}"] = _blob(by_number(blob), name)
        if number == _LAYER and _PRIOR_BOX in layer:
            priors[name] = _prior_box(by_number(messages(layer[_PRIOR_BOX])[0]))
    return Foreign(state=state, about={"format": FORMAT, "priors": priors})


def _blob(blob: Mapping[int, Sequence[Value]], layer: str) -> Tensor:
    """One array of a layer, as float32."""
    if _SHAPE in blob:
        shape = integers(by_number(messages(blob[_SHAPE])[0]).get(1, []))
    else:
        shape = integers([blob[number][0] for number in _OLD_SHAPE if number in blob])
    double = _FLOATS not in blob
    values = floats(blob.get(_DOUBLES if double else _FLOATS, []), "<f8" if double else "<f4")
    if len(values) != math.prod(shape) or max(shape, default=1) > len(values):
        raise ModelError(f"layer '{layer}' has {len(values)} numbers for a blob of shape {shape}")
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def _prior_box(box: Mapping[int, Sequence[Value]]) -> PriorBox:
    """The settings of one PriorBox layer with Caffe's defaults."""
    both = _numbers(box, 10) or (0.0,)
    down, across = _numbers(box, 11) or both, _numbers(box, 12) or both
    return PriorBox(
        min_sizes=_numbers(box, 1),
        max_sizes=_numbers(box, 2),
        ratios=_numbers(box, 3),
        flip=_switch(box, 4, default=True),
        clip=_switch(box, 5, default=False),
        variances=_numbers(box, 6),
        steps=(down[0], across[0]),
        offset=(_numbers(box, 13) or (0.5,))[0],
    )


def _numbers(box: Mapping[int, Sequence[Value]], number: int) -> tuple[float, ...]:
    """The floats of a field, as short as float32 needs them (.1, not .10000000149)."""
    values = floats(box.get(number, []))
    if not np.isfinite(values).all():
        raise ModelError("a PriorBox layer has a setting that is no number")
    return tuple(float(str(value)) for value in values)


def _switch(box: Mapping[int, Sequence[Value]], number: int, *, default: bool) -> bool:
    """A true-or-false field."""
    return bool(integers(box[number])[-1]) if number in box else default
