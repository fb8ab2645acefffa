"""Every class and box loss against a plain loop, at its perfect prediction, and all combinations of all of them."""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from multibox.boxes.coding import decode, encode, to_corners
from multibox.boxes.priors import make_priors, shapes_per_cell
from multibox.errors import UsageError
from multibox.spec import ModelSpec
from multibox.training.losses.multibox_loss import MultiBoxLoss, matched_loss, multibox_loss
from multibox.training.losses.rules import Assigner, BoxLoss, ClassLoss, LossRules, rules_for
from multibox.zoo import load_spec

SOFTMAX = load_spec("ssd300_vgg16.torchvision_coco").with_names(("a", "b", "c"))
SIGMOID = replace(SOFTMAX, activation="sigmoid")
SPECS = {
    "softmax": SOFTMAX,
    "sigmoid": SIGMOID,
    "no background": replace(SIGMOID, background=False),
    "background learns": replace(SIGMOID, loss=replace(SIGMOID.loss, background_learns=True)),
}
ASSIGNERS, CLASS_LOSSES, BOX_LOSSES = get_args(Assigner), get_args(ClassLoss), get_args(BoxLoss)
NORMALIZERS = ("positives", "positives_per_image", "images")

MAPS = [(5, 5), (3, 3), (2, 2), (1, 1), (1, 1), (1, 1)]
LAYOUT = replace(SOFTMAX.priors, levels=tuple(replace(level, step=None) for level in SOFTMAX.priors.levels))
PRIORS = make_priors(LAYOUT, (300, 300), MAPS)
LEVEL_SIZES = [h * w * shapes_per_cell(level) for (h, w), level in zip(MAPS, SOFTMAX.priors.levels, strict=True)]

Batch = tuple[tuple[Tensor, Tensor], Tensor, tuple[Tensor, Tensor, Tensor]]


def batch(spec: ModelSpec, seed: int = 0) -> Batch:
    """Random (logits, offsets), matches, and (boxes, labels, valid); the second of three images has no objects."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, len(PRIORS), spec.columns, generator=generator) * 1.5
    offsets = torch.randn(3, len(PRIORS), 4, generator=generator)
    center, side = torch.rand(3, 4, 2, generator=generator), torch.rand(3, 4, 2, generator=generator) * 0.5 + 0.05
    boxes = torch.cat([center - side / 2, center + side / 2], dim=-1)
    labels = torch.randint(0, len(spec.labels.names), (3, 4), generator=generator)
    drawn = torch.randint(0, 4, (3, len(PRIORS)), generator=generator)
    matches = torch.where(torch.rand(3, len(PRIORS), generator=generator) < 0.1, drawn, -1)
    matches[1] = -1
    valid = torch.ones(3, 4, dtype=torch.bool)
    valid[1] = False
    return (logits.requires_grad_(), offsets.requires_grad_()), matches, (boxes, labels, valid)


def loss_of(data: Batch, spec: ModelSpec, **choices: Any) -> MultiBoxLoss:
    predictions, matches, (boxes, labels, _) = data
    rules = rules_for(spec, **choices)
    return matched_loss(predictions, matches, boxes, labels, PRIORS, spec=spec, rules=rules)


def overlap(a: list[float], b: list[float]) -> tuple[float, float]:
    """(intersection, union) of two boxes."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return width * height, sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - width * height


def plain_iou_loss(a: list[float], b: list[float], kind: str) -> float:
    """GIoU, DIoU or CIoU loss of two boxes, from the papers' definitions."""
    inter, union = overlap(a, b)
    iou = inter / union
    wide, high = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    if kind == "giou":
        return 1 - iou + (wide * high - union) / (wide * high)
    apart = ((a[0] + a[2] - b[0] - b[2]) ** 2 + (a[1] + a[3] - b[1] - b[3]) ** 2) / 4
    loss = 1 - iou + apart / (wide**2 + high**2)
    if kind == "diou":
        return loss
    v = 4 / math.pi**2 * (math.atan((b[2] - b[0]) / (b[3] - b[1])) - math.atan((a[2] - a[0]) / (a[3] - a[1]))) ** 2
    return loss + v * v / (1 - iou + v)


def positives(data: Batch, spec: ModelSpec) -> Iterator[tuple[int, int, int, list[float], list[float]]]:
    """(image, prior, object, decoded box, its object's box), boxes in pixels."""
    (_, offsets), matches, (boxes, _, _) = data
    decoded = decode(offsets.detach(), PRIORS, spec.coder)
    for image, prior in (matches >= 0).nonzero().tolist():
        number = int(matches[image, prior])
        yield image, prior, number, (decoded[image, prior] * 300).tolist(), (boxes[image, number] * 300).tolist()


def image_weight(matches: Tensor, image: int, normalizer: str) -> float:
    """By what the summed loss of an image is multiplied."""
    counts = (matches >= 0).sum(dim=1).tolist()
    if normalizer == "positives_per_image":
        return 1 / counts[image] / len(counts) if counts[image] else 0.0
    return 1 / sum(max(1, count) for count in counts) if normalizer == "images" else 1 / sum(counts)


def plain_targets(data: Batch, spec: ModelSpec, soft: bool) -> dict[tuple[int, int], tuple[int, float]]:
    """Column and soft target of every positive."""
    first, found = int(spec.background), {}
    for image, prior, number, ours, wanted in positives(data, spec):
        inter, union = overlap(ours, wanted)
        found[image, prior] = first + int(data[2][1][image, number]), inter / union if soft else 1.0
    return found


def plain_prior_loss(logits: list[float], target: tuple[int, float] | None, spec: ModelSpec, rules: LossRules) -> float:
    """What one prior loses; `target` is its column and soft target, none for background."""
    column, quality = target or (0, 0.0)
    alpha, gamma, kind = rules.focal_alpha, rules.focal_gamma, rules.class_loss
    if spec.activation == "softmax":
        total = sum(math.exp(x) for x in logits)
        p = [math.exp(x) / total for x in logits]
        t = [0.0] * len(p)
        t[column] = quality
        t[0] = 1 - quality
        entropy = -sum(b * math.log(a) for a, b in zip(p, t, strict=True))
        wrong = sum(abs(a - b) for a, b in zip(p, t, strict=True)) / 2
        if kind == "varifocal":
            return entropy * (quality if target else (1 - alpha) * wrong**gamma)
        weight = (alpha if target else 1 - alpha) if kind == "focal" else 1.0
        return entropy * (1.0 if kind == "mined" else weight * wrong**gamma)
    learns, total = spec.loss.background_learns, 0.0
    for at, x in enumerate(logits):
        if at == 0 and spec.background and not learns:
            continue
        p1 = 1 / (1 + math.exp(-x))
        hit = target is not None and at == column
        t1 = quality if hit else (1 - quality if at == 0 and learns else 0.0)
        entropy = -(t1 * math.log(p1) + (1 - t1) * math.log(1 - p1))
        wrong = abs(p1 - t1)
        weight = {
            "mined": 1.0,
            "focal": (alpha * t1 + (1 - alpha) * (1 - t1)) * wrong**gamma,
            "quality_focal": wrong**gamma,
            "varifocal": quality if hit else (1 - alpha) * wrong**gamma,
        }[kind]
        total += weight * entropy
    return total


def plain_class_loss(data: Batch, spec: ModelSpec, rules: LossRules) -> float:
    """Prior by prior; the mined loss leaves out all but the worst negatives of each image."""
    (logits, _), matches, _ = data
    targets = plain_targets(data, spec, rules.class_loss in ("quality_focal", "varifocal"))
    total = 0.0
    for image, rows in enumerate(logits.tolist()):
        found = [plain_prior_loss(row, targets.get((image, at)), spec, rules) for at, row in enumerate(rows)]
        mine = [loss for at, loss in enumerate(found) if (image, at) in targets]
        others = sorted((loss for at, loss in enumerate(found) if (image, at) not in targets), reverse=True)
        if rules.class_loss == "mined":
            others = others[: int(rules.negative_ratio * len(mine))]
        total += (sum(mine) + sum(others)) * image_weight(matches, image, spec.loss.normalizer)
    return total * spec.loss.classification_weight


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("kind", CLASS_LOSSES)
@pytest.mark.parametrize("model", SPECS)
def test_class_losses_are_those_of_a_plain_loop(model: str, kind: Any, normalizer: Any) -> None:
    base = SPECS[model]
    own = replace(base.loss, normalizer=normalizer, classification_weight=0.7, focal_alpha=0.3, focal_gamma=1.5)
    spec = replace(base, loss=own)
    data = batch(spec)
    rules = rules_for(spec, class_loss=kind)
    found = loss_of(data, spec, class_loss=kind).classification.item()
    assert found == pytest.approx(plain_class_loss(data, spec, rules), rel=2e-5)


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("kind", BOX_LOSSES)
def test_box_losses_are_those_of_a_plain_loop(kind: str, normalizer: Any) -> None:
    spec = replace(SOFTMAX, loss=replace(SOFTMAX.loss, normalizer=normalizer))
    data = batch(spec)
    wanted = 0.0
    for image, prior, number, ours, box in positives(data, spec):
        if kind == "smooth_l1":
            target = encode(data[2][0][image, number][None], PRIORS[prior][None], spec.coder)[0]
            away = (data[0][1][image, prior] - target).abs().tolist()
            loss = sum(d * d / 2 if d < 1 else d - 0.5 for d in away)
        else:
            loss = plain_iou_loss(ours, box, kind)
        wanted += loss * image_weight(data[1], image, normalizer)
    found = loss_of(data, spec, box_loss=kind, box_weight=1.5).localization.item()
    assert found == pytest.approx(1.5 * wanted, rel=2e-5)


def perfect(spec: ModelSpec) -> Batch:
    """A batch whose boxes are exact and whose scores are sure and right."""
    (logits, _), matches, truth = batch(spec)
    boxes, labels, _ = truth
    image, first = torch.arange(3)[:, None], int(spec.background)
    columns = torch.where(matches >= 0, labels[image, matches] + first, 0)
    logits = torch.nn.functional.one_hot(columns, spec.columns) * 200.0 - 100.0
    if not spec.background:
        logits[matches < 0] = -100.0
    offsets = encode(boxes[image, matches], PRIORS, spec.coder)
    return (logits.requires_grad_(), offsets.requires_grad_()), matches, truth


@pytest.mark.parametrize("model", SPECS)
@pytest.mark.parametrize("kind", CLASS_LOSSES)
def test_sure_and_right_scores_with_perfect_boxes_lose_nothing(model: str, kind: str) -> None:
    assert loss_of(perfect(SPECS[model]), SPECS[model], class_loss=kind).total.item() == pytest.approx(0, abs=2e-4)


@pytest.mark.parametrize("kind", BOX_LOSSES)
def test_perfect_boxes_lose_nothing_and_moved_ones_are_drawn_back(kind: str) -> None:
    data = perfect(SOFTMAX)
    assert loss_of(data, SOFTMAX, box_loss=kind).localization.item() == pytest.approx(0, abs=1e-4)
    (logits, offsets), matches, truth = data
    moved = (offsets.detach() + 0.5).requires_grad_()
    loss = loss_of(((logits, moved), matches, truth), SOFTMAX, box_loss=kind).localization
    (gradient,) = torch.autograd.grad(loss, moved)
    assert (gradient[matches < 0] == 0).all()
    nearer = moved.detach() - 0.1 * gradient
    after = loss_of(((logits, nearer), matches, truth), SOFTMAX, box_loss=kind).localization
    assert 0 < after.item() < loss.item()


@pytest.mark.parametrize("model", SPECS)
@pytest.mark.parametrize("kind", ["quality_focal", "varifocal"])
def test_a_score_is_best_where_it_equals_the_boxes_quality(model: str, kind: Any) -> None:
    spec = SPECS[model]
    box, prior = torch.tensor([[[0.2, 0.2, 0.6, 0.6]]]), torch.tensor([[0.4, 0.4, 0.4, 0.32]])
    quality, first = 0.8, int(spec.background)
    logits = torch.full((1, 1, spec.columns), -20.0)
    if spec.activation == "softmax" or spec.loss.background_learns:
        logits[..., 0] = math.log(1 - quality) - (0 if spec.activation == "softmax" else math.log(quality))
    logits[..., first] = math.log(quality) - (0 if spec.activation == "softmax" else math.log(1 - quality))
    logits.requires_grad_()
    one = (logits, torch.zeros(1, 1, 4)), torch.zeros(1, 1, dtype=torch.long), box, torch.zeros(1, 1, dtype=torch.long)
    loss = matched_loss(*one, prior, spec=spec, rules=rules_for(spec, class_loss=kind)).classification
    loss.backward()
    assert logits.grad is not None and logits.grad.abs().max().item() < 1e-5
    assert loss.item() == pytest.approx(0, abs=1e-4) if kind == "quality_focal" else loss.item() > 0


def test_the_softmax_quality_loss_with_sure_targets_is_the_focal_cross_entropy() -> None:
    (_, offsets), matches, truth = perfect(SOFTMAX)
    (logits, _), _, _ = batch(SOFTMAX, seed=5)
    data = (logits, offsets), matches, truth
    soft = loss_of(data, SOFTMAX, class_loss="quality_focal").classification
    hard = loss_of(data, SOFTMAX, class_loss="focal", focal_alpha=0.5).classification
    assert soft.item() == pytest.approx(2 * hard.item(), rel=1e-4)


@pytest.mark.parametrize("model", SPECS)
def test_all_combinations_are_finite_and_teach_scores_and_boxes_with_and_without_objects(model: str) -> None:
    spec = SPECS[model]
    predictions, _, (boxes, labels, valid) = batch(spec)
    for there, (assigner, kind, box_loss) in product(
        (valid, torch.zeros_like(valid)), product(ASSIGNERS, CLASS_LOSSES, BOX_LOSSES)
    ):
        rules = rules_for(spec, assigner=assigner, class_loss=kind, box_loss=box_loss)
        loss = multibox_loss(predictions, boxes, labels, there, PRIORS, spec=spec, rules=rules, level_sizes=LEVEL_SIZES)
        gradients = torch.autograd.grad(loss.total, predictions)
        assert loss.total.isfinite() and all(gradient.isfinite().all() for gradient in gradients)
        if there.any():
            assert all(gradient.abs().sum() > 0 for gradient in gradients), rules
        else:
            assert loss.localization.item() == 0


@pytest.mark.parametrize("kind", CLASS_LOSSES)
def test_a_background_column_that_does_not_learn_has_no_gradient(kind: str) -> None:
    data = batch(SIGMOID)
    loss_of(data, SIGMOID, class_loss=kind).total.backward()
    assert data[0][0].grad is not None and (data[0][0].grad[..., 0] == 0).all()


def test_assigners_override_the_sheets_best_prior_alone() -> None:
    spec = replace(SOFTMAX, matching=replace(SOFTMAX.matching, best_prior="none", iou=0.9))
    predictions, _, truth = batch(spec)
    matched = {
        name: multibox_loss(predictions, *truth, PRIORS, spec=spec, rules=rules_for(spec, assigner=name)).localization
        for name in ("sheet", "per_object", "bipartite")
    }
    assert matched["sheet"].item() == 0 and matched["per_object"].item() > 0 and matched["bipartite"].item() > 0


def test_rules_are_the_models_own_where_nothing_is_said() -> None:
    assert rules_for(SOFTMAX).class_loss == "mined" and rules_for(SIGMOID).class_loss == "focal"
    own = replace(SIGMOID, loss=replace(SIGMOID.loss, focal_alpha=0.4, focal_gamma=1.0))
    assert (rules_for(own).focal_alpha, rules_for(own).focal_gamma) == (0.4, 1.0)
    assert rules_for(own, focal_alpha=0.0).focal_alpha == 0.0
    assert [rules_for(SOFTMAX, box_loss=kind).box_weight for kind in BOX_LOSSES] == [1.0, 2.0, 2.0, 2.0]
    assert rules_for(SOFTMAX, box_loss="giou", box_weight=0.0).box_weight == 0.0


def test_a_softmax_model_without_background_is_refused_in_one_sentence() -> None:
    with pytest.raises(UsageError, match="needs a background column"):
        rules_for(replace(SOFTMAX, background=False))


def test_iou_losses_of_an_oblong_input_are_measured_in_its_pixels() -> None:
    spec = replace(SOFTMAX, input=replace(SOFTMAX.input, height=300, width=600))
    box, prior = torch.tensor([[[0.2, 0.2, 0.4, 0.4]]]), torch.tensor([[0.5, 0.6, 0.2, 0.4]])
    logits, number = torch.zeros(1, 1, spec.columns), torch.zeros(1, 1, dtype=torch.long)
    rules = rules_for(spec, box_loss="diou", box_weight=1.0)
    found = matched_loss((logits, torch.zeros(1, 1, 4)), number, box, number, prior, spec=spec, rules=rules)
    pixels = [[120.0, 60.0, 240.0, 120.0], (to_corners(prior)[0] * torch.tensor([600.0, 300.0] * 2)).tolist()]
    assert found.localization.item() == pytest.approx(plain_iou_loss(pixels[1], pixels[0], "diou"), rel=1e-5)
