"""Caffe's SSD300 and SSD512 (weiliu89/caffe) and MobileNet-SSD (chuanqi305): layers of a .caffemodel -> our keys.

Rows, order of priors and scaling are ours; colours stay blue, green, red, as the sheets say. A .caffemodel states its
priors, so those of the file go before those of the sheet. Files of MobileNet-SSD have batch norm in two layers
(BatchNorm: sums of means and variances with the weight of all of them; Scale), or merged into the convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from multibox.errors import ModelError
from multibox.weights.importers.caffemodel import FORMAT, PriorBox
from multibox.weights.importers.contract import Foreign, Imported

_VGG_CONVS = (2, 2, 3, 3, 3)
"""Convolutions in conv1 to conv5; each group ends in a pooling."""
_VGG_SOURCES = ("conv4_3_norm", "fc7", "conv6_2", "conv7_2", "conv8_2", "conv9_2", "conv10_2")
_MOBILENET_SOURCES = ("conv11", "conv13", "conv14_2", "conv15_2", "conv16_2", "conv17_2")
"""Layers with predictors, finest first; SSD300 has no conv10_2."""
_COCO_COLUMNS = 81
_BLOBS = ("weight", "bias")
_NORM_EPS = 1e-5
"""That of every BatchNorm in MobileNet-SSD; its sheet states the same."""


def read(foreign: Foreign) -> Imported | None:
    """The importer (see `contract`)."""
    if foreign.about.get("format") != FORMAT:
        return None
    state = dict(foreign.state)
    if "conv4_3_norm.0" in state and "fc7_mbox_conf.1" in state:
        large = "conv10_1.0" in state
        sources = _VGG_SOURCES if large else _VGG_SOURCES[:-1]
        # other class counts are people's own, and they start from ssd_pascal.py
        dataset = "coco" if _columns(state, "fc7") == _COCO_COLUMNS else "voc"
        sheet = f"ssd{512 if large else 300}_vgg16.caffe_{dataset}"
        ours = {"backbone.first_norm.scale": state.pop("conv4_3_norm.0").flatten(), **_take(state, _vgg_layers())}
    elif "conv0.0" in state and "conv13_mbox_conf.1" in state:
        sources, sheet = _MOBILENET_SOURCES, "ssd300_mobilenet_v1.chuanqi_voc"
        ours = {}
        for layer, key in _mobilenet_layers():
            ours |= _take_normed(state, layer, key)
    else:
        return None
    ours |= _take(state, _predictors(sources))
    return Imported(sheet=sheet, state=ours | state, changes=_changes(foreign.about.get("priors", {}), sources))


def _columns(state: Mapping[str, Tensor], source: str) -> int:
    """Columns of the logits; the box predictor of the same layer tells how many priors a cell has."""
    boxes = state.get(f"{source}_mbox_loc.1")
    return 0 if boxes is None or boxes.numel() < 4 else state[f"{source}_mbox_conf.1"].numel() // (boxes.numel() // 4)


def _vgg_layers() -> Iterator[tuple[str, str]]:
    """Caffe's name and our key of every convolution before the heads."""
    index = 0
    for group, count in enumerate(_VGG_CONVS, start=1):
        for number in range(1, count + 1):
            yield f"conv{group}_{number}", f"backbone.layers.{index}"
            index += 2
        index += 1
    yield "fc6", f"backbone.layers.{index}"
    yield "fc7", f"backbone.layers.{index + 2}"
    for block in range(len(_VGG_SOURCES) - 2):
        yield f"conv{block + 6}_1", f"extras.blocks.{block}.0"
        yield f"conv{block + 6}_2", f"extras.blocks.{block}.2"


def _mobilenet_layers() -> Iterator[tuple[str, str]]:
    """Caffe's name of every convolution before the heads, and our key of the block that it makes with its norm."""
    yield "conv0", "backbone.stem"
    for number in range(1, 14):
        yield f"conv{number}/dw", f"backbone.blocks.{number - 1}.0"
        yield f"conv{number}", f"backbone.blocks.{number - 1}.1"
    for block in range(4):
        yield f"conv{block + 14}_1", f"extras.blocks.{block}.0"
        yield f"conv{block + 14}_2", f"extras.blocks.{block}.1"


def _predictors(sources: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Caffe's name and our key of every predictor."""
    for level, source in enumerate(sources):
        yield f"{source}_mbox_conf", f"head.classes.{level}"
        yield f"{source}_mbox_loc", f"head.boxes.{level}"


def _take(state: dict[str, Tensor], layers: Iterator[tuple[str, str]]) -> dict[str, Tensor]:
    """Takes the convolutions out of `state`; old files state four sizes for a bias too."""
    ours = {}
    for layer, key in layers:
        for index, kind in enumerate(_BLOBS):
            if (blob := state.pop(f"{layer}.{index}", None)) is not None:
                ours[f"{key}.{kind}"] = blob.flatten() if kind == "bias" else blob
    return ours


def _take_normed(state: dict[str, Tensor], layer: str, key: str) -> dict[str, Tensor]:
    """Takes a convolution with its norm out of `state`; a bias of the convolution becomes part of the norm."""
    if f"{layer}.0" not in state:
        return {}
    weight = state.pop(f"{layer}.0")
    ones, zeros = torch.ones(len(weight)), torch.zeros(len(weight))
    bias = state.pop(f"{layer}.1", zeros).flatten()
    if f"{layer}/bn.0" in state:
        mean, variance, total = (state.pop(f"{layer}/bn.{index}", zeros).flatten() for index in range(3))
        share = 1 / total[0] if total[0] else total[0]
        gamma, beta = (state.pop(f"{layer}/scale.{i}", default).flatten() for i, default in enumerate((ones, zeros)))
        norm = (gamma, beta, mean * share - bias, variance * share)
    else:
        # merged: a norm that, while not training, adds the bias and nothing else
        norm = (ones, bias, zeros, torch.full_like(zeros, 1 - _NORM_EPS))
    names = ("weight", "bias", "running_mean", "running_var")
    ours = {f"{key}.1.{name}": value for name, value in zip(names, norm, strict=True)}
    return {f"{key}.0.weight": weight, **ours, f"{key}.1.num_batches_tracked": torch.zeros((), dtype=torch.int64)}


def _changes(boxes: Mapping[str, PriorBox], sources: tuple[str, ...]) -> dict[str, Any]:
    """The priors that the file states as fields of a spec; none where it does not state those of every level."""
    found = [boxes[name] for source in sources if (name := f"{source}_mbox_priorbox") in boxes]
    if len(found) < len(sources):
        return {}
    variances = found[0].variances or (0.1,)
    if any(down != across for down, across in (box.steps for box in found)):
        raise ModelError("its priors have other steps down than across, which no sheet describes")
    if any(box.clip or not box.flip or len(box.min_sizes) != 1 for box in found):
        raise ModelError("its priors are clipped, unflipped or of several sizes on one map, which no sheet describes")
    return {
        "priors.levels": [_level(box) for box in found],
        "coder.center_variance": variances[0],
        "coder.size_variance": variances[-1],
    }


def _level(box: PriorBox) -> dict[str, Any]:
    """One level of a spec; Caffe cuts sizes to whole pixels and leaves out ratios that it has already."""
    ratios: list[float] = []
    known = [1.0]
    for ratio in box.ratios:
        if ratio > 0 and all(abs(ratio - other) > 1e-6 for other in known):
            ratios.append(ratio)
            known += [ratio, 1 / ratio]
    level: dict[str, Any] = {"min_size": float(int(box.min_sizes[0])), "ratios": ratios}
    if box.max_sizes:
        level["max_size"] = float(int(box.max_sizes[0]))
    if box.steps[0]:
        level["step"] = box.steps[0]
    if box.offset != 0.5:
        level["offset"] = box.offset
    return level
