"""Every fixture's codebase and ours compute the same: preprocessing, network, priors, detections, training.

Tolerances and their reasons are in README.md. `MULTIBOX_PARITY` names another folder of fixtures of the same form.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import fixtures
import numpy as np
import pytest
import torch
from adapters import ADAPTERS, Adapter
from torch import Tensor

from multibox.boxes.coding import encode, to_corners
from multibox.boxes.matching import match
from multibox.boxes.overlap import pairwise_iou
from multibox.boxes.postprocess import detect
from multibox.images.prepare import prepare
from multibox.images.read import read_image
from multibox.network.model import SSD
from multibox.network.normalize import Normalize
from multibox.training.losses.multibox_loss import matched_loss
from multibox.zoo.models import load_model

FOLDER = Path(os.environ.get("MULTIBOX_PARITY", fixtures.HERE)).resolve()
PARTS = ("pre", "network", "priors", "post", "post_dense", "train")


@lru_cache(maxsize=1)
def _prepared(name: str) -> tuple[fixtures.Fixture, Adapter, SSD]:
    """The fixture, what is foreign about it, and our model with its weights, read through the importer."""
    fixture = fixtures.load(name, FOLDER)
    with tempfile.TemporaryDirectory() as folder:
        model = load_model(fixtures.write_checkpoint(fixture, Path(folder) / f"{name}.pth"))
    return fixture, ADAPTERS[fixture.meta["codebase"]], model


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", fixtures.names(FOLDER))
def test_ours_agrees_with_the_codebase(name: str, part: str) -> None:
    meta = fixtures.load(name, FOLDER).meta
    if meta["codebase"] not in ADAPTERS:
        pytest.skip(f"{meta['codebase']} was not run; tests/zoo compares what the fixture holds")
    if part in meta["missing"] or (part == "post_dense" and part not in meta):
        pytest.skip(f"the fixture has no part {part}: {meta['missing'].get(part, 'the codebase has no such limit')}")
    fixture, adapter, model = _prepared(name)
    if part.startswith("post"):
        _check_post(fixture, adapter, model, dense=part == "post_dense")
    else:
        {"pre": _check_pre, "network": _check_network, "priors": _check_priors, "train": _check_train}[part](
            fixture, adapter, model
        )


def _image(number: int) -> np.ndarray:
    folder = FOLDER / "images" if (FOLDER / "images").is_dir() else fixtures.HERE / "images"
    return read_image(folder / f"{number}.png")


def _check_pre(fixture: fixtures.Fixture, adapter: Adapter, model: SSD) -> None:
    spec = model.spec.input
    pixels = torch.from_numpy(prepare(_image(0), spec).pixels)[None]
    value = Normalize(spec)(pixels).flatten()[torch.from_numpy(fixture.arrays["pre_index"]).long()]
    wanted = torch.from_numpy(fixture.arrays["pre_value"])
    value_range = (wanted.max() - wanted.min()).item()
    tolerance = 1e-4 * value_range if adapter.same_resize else 1.0 / min(spec.std)
    assert (value - wanted).abs().max().item() <= tolerance


@torch.no_grad()
def _check_network(fixture: fixtures.Fixture, adapter: Adapter, model: SSD) -> None:
    predictions = model(fixtures.network_input(fixture))
    rows = torch.from_numpy(fixture.arrays["net_index"]).long()
    given = {
        "logits": adapter.logits_to_theirs(model, predictions.logits)[0, rows],
        "deltas": adapter.offsets_to_theirs(model, predictions.offsets)[0, rows],
    }
    for kind, value in given.items():
        std = fixture.meta["network"][f"{kind}_mean_std"][1]
        error = (value - torch.from_numpy(fixture.arrays[f"net_{kind}"])).abs().max().item()
        assert error <= 1e-4 * std, f"{kind}: {error / std:.1e} of their standard deviation"


def _check_priors(fixture: fixtures.Fixture, adapter: Adapter, model: SSD) -> None:
    height, width = size = tuple(fixture.meta["input_size"])
    ours = adapter.priors_to_theirs(model, size)
    theirs = torch.from_numpy(fixture.arrays["priors"])
    assert ours.shape == theirs.shape
    scale = max(height, width) if adapter.priors_unit == "input" else 1.0
    assert (ours - theirs).abs().max().item() <= 1e-6 * scale


def _check_post(fixture: fixtures.Fixture, adapter: Adapter, model: SSD, dense: bool) -> None:
    logits, deltas = fixtures.post_inputs(fixture, dense)
    logits, offsets = adapter.logits_to_ours(model, logits), adapter.offsets_to_ours(model, deltas)
    size, photo = tuple(fixture.meta["input_size"]), _image(0).shape[:2]
    spec = model.spec
    if adapter.nms_in_photo:
        spec = replace(spec, input=replace(spec.input, height=photo[0], width=photo[1]))
    ours = detect(logits, offsets, model.priors, spec, model.level_sizes)[0]
    boxes = adapter.boxes_to_theirs(ours.boxes, size, photo)
    wanted = [torch.from_numpy(fixture.arrays[f"{'dense' if dense else 'det'}_{kind}"]) for kind in _DETECTION]
    twins = _twins((boxes, ours.scores, ours.labels + adapter.first_label), tuple(wanted))
    near = (ours.scores[twins] - ours.scores).abs() <= 1e-6
    assert bool(((twins == torch.arange(len(twins))) | near).all()), "same detections, but in another order"


_DETECTION = ("boxes", "scores", "labels")


def _twins(ours: tuple[Tensor, Tensor, Tensor], theirs: tuple[Tensor, ...]) -> Tensor:
    """For every one of their detections the index of ours with the same label, box and score; all must have one."""
    assert len(ours[0]) == len(theirs[0]), f"{len(ours[0])} detections, not {len(theirs[0])}"
    low = torch.maximum(theirs[0][:, None, :2], ours[0][None, :, :2])
    high = torch.minimum(theirs[0][:, None, 2:], ours[0][None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (theirs[0], ours[0])]
    union = areas[0][:, None] + areas[1] - overlap
    same = (overlap >= 0.999 * union) & (theirs[2][:, None] == ours[2])
    same &= (theirs[1][:, None] - ours[1]).abs() <= 1e-5
    lonely = (~same.any(1)).nonzero().flatten()
    assert len(lonely) == 0, f"{len(lonely)} of {len(same)} detections have no twin, the first is number {lonely[0]}"
    assert bool(same.any(0).all()), "a detection of ours has no twin"
    # where several fit, the one of the same rank
    rank = (torch.arange(len(same))[:, None] - torch.arange(len(same))).abs()
    return rank.masked_fill(~same, len(same)).argmin(1)


def _truth(meta: dict[str, Any], adapter: Adapter) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes [n, g, 4], our labels [n, g] and validity [n, g] of the training images, padded to the longest."""
    longest = max(map(len, meta["gt_labels"]))
    count = len(meta["gt_labels"])
    boxes, labels = torch.zeros(count, longest, 4), torch.zeros(count, longest, dtype=torch.long)
    valid = torch.zeros(count, longest, dtype=torch.bool)
    for i, (rows, names) in enumerate(zip(meta["gt_boxes_xyxy_fraction"], meta["gt_labels"], strict=True)):
        boxes[i, : len(rows)] = torch.tensor(rows)
        labels[i, : len(names)] = torch.tensor(names) - adapter.first_truth_label
        valid[i, : len(names)] = True
    return boxes, labels, valid


def _check_train(fixture: fixtures.Fixture, adapter: Adapter, model: SSD) -> None:
    meta = fixture.meta["train"]
    boxes, labels, valid = _truth(meta, adapter)
    matches = match(boxes, valid, model.priors, model.spec.matching, model.spec.matching_size)
    if adapter.spurious_positives:
        _add_spurious(matches, boxes, valid, model)
    order = adapter.prior_order(model)
    wanted = torch.from_numpy(fixture.arrays["pos_index"]).long()
    if adapter.ties_by_rounding:
        _settle_ties(matches, wanted[:, 0], order[wanted[:, 1]], boxes, model)
    image, theirs = (matches[:, order] >= 0).nonzero(as_tuple=True)
    assert torch.equal(torch.stack([image, theirs], 1), wanted[np.lexsort((wanted[:, 1], wanted[:, 0]))])
    image, prior = wanted[:, 0], order[wanted[:, 1]]
    objects = matches[image, prior]
    assert (labels[image, objects] + adapter.first_matched_label).tolist() == fixture.arrays["pos_label"].tolist()
    target = encode(boxes[image, objects], model.priors[prior], model.spec.coder)
    places = torch.tensor(adapter.offsets_order).argsort()
    assert (target[:, places] - torch.from_numpy(fixture.arrays["pos_target"])).abs().max().item() <= 1e-5
    logits, deltas = fixtures.train_inputs(fixture)
    predictions = adapter.logits_to_ours(model, logits), adapter.offsets_to_ours(model, deltas)
    loss = matched_loss(predictions, matches, boxes, labels, model.priors, spec=model.spec)
    for name, wanted_loss in meta["losses"].items():
        rounding = float(np.spacing(np.float32(meta["losses"]["total"]))) if adapter.box_loss_by_difference else 0.0
        bound = max(1e-5 * wanted_loss, rounding if name == "box" else 0.0)
        assert getattr(loss, _LOSSES[name]).item() == pytest.approx(wanted_loss, rel=0, abs=bound), name


_LOSSES = {"cls": "classification", "box": "localization", "total": "total"}


def _settle_ties(matches: Tensor, images: Tensor, theirs: Tensor, boxes: Tensor, model: SSD) -> None:
    """Gives an object the prior that the codebase gave it, where ours has the same IoU but for float32's rounding."""
    wanted = torch.zeros_like(matches, dtype=torch.bool)
    wanted[images, theirs] = True
    corners = to_corners(model.priors.double())
    for image, prior in ((matches >= 0) & ~wanted).nonzero().tolist():
        number = int(matches[image, prior])
        iou = pairwise_iou(boxes[image, number].double()[None], corners)[0]
        equal = (iou - iou[prior]).abs() <= 1e-6
        twins = (wanted[image] & (matches[image] < 0) & equal).nonzero()
        assert len(twins), f"prior {prior} of image {image} is matched, and no equal one in its place"
        matches[image, prior], matches[image, twins[0]] = -1, number


def _add_spurious(matches: Tensor, boxes: Tensor, valid: Tensor, model: SSD) -> None:
    """The fault of the port of GluonCV, so that the rest is compared: each object also gets the last prior whose best
    object it is. What our rule gives stays as it is: every object here has its best prior to itself.
    """
    corners = to_corners(model.priors)
    for image, (objects, there) in enumerate(zip(boxes, valid, strict=True)):
        iou = pairwise_iou(objects[there], corners)
        best = iou.max(dim=0).indices
        numbers = torch.arange(len(iou))
        assert torch.equal(best[iou.argmax(dim=1)], numbers) and torch.equal(matches[image, iou.argmax(dim=1)], numbers)
        for number in range(len(iou)):
            matches[image, (best == number).nonzero()[-1]] = number
