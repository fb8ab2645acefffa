"""The loss: torchvision's numbers and gradients, the focal loss written out, and batches without objects."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection._utils import SSDMatcher
from torchvision.models.detection.ssd import SSD as TorchvisionSSD
from torchvision.ops import box_iou

from multibox.boxes.coding import encode, to_corners
from multibox.boxes.matching import match
from multibox.boxes.priors import make_priors
from multibox.spec import LossSpec, ModelSpec
from multibox.training.losses.multibox_loss import MultiBoxLoss, multibox_loss
from multibox.training.losses.rules import rules_for
from multibox.zoo import load_spec

SPEC = load_spec("ssd300_vgg16.torchvision_coco")
SIGMOID = replace(SPEC, activation="sigmoid")
PRIORS = make_priors(SPEC.priors, (300, 300), [(n, n) for n in (38, 19, 10, 5, 3, 1)])


def batch(n: int, g: int, seed: int = 0) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Random (logits, offsets) that want a gradient, and random (boxes, labels, valid)."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, len(PRIORS), SPEC.columns, generator=generator) * 2
    offsets = torch.randn(n, len(PRIORS), 4, generator=generator) * 0.5
    centre = torch.rand(n, g, 2, generator=generator)
    side = torch.rand(n, g, 2, generator=generator) * 0.5 + 0.03
    boxes = torch.cat([(centre - side / 2).clamp(min=0), (centre + side / 2).clamp(max=1)], dim=-1)
    labels = torch.randint(0, SPEC.columns - 1, (n, g), generator=generator)
    valid = torch.rand(n, g, generator=generator) < 0.8
    return (logits.requires_grad_(), offsets.requires_grad_()), (boxes, labels, valid)


def torchvisions_loss(
    model: TorchvisionSSD, predictions: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor, Tensor]
) -> dict[str, Tensor]:
    """torchvision's own loss of the same tensors, in its pixels and with its labels."""
    corners = to_corners(PRIORS) * 300
    targets, matches = [], []
    for boxes, labels, valid in zip(*truth, strict=True):
        targets.append({"boxes": boxes[valid] * 300, "labels": labels[valid] + 1})
        none = torch.full((len(PRIORS),), -1)
        matches.append(SSDMatcher(0.5)(box_iou(boxes[valid] * 300, corners)) if valid.any() else none)
    heads = {"cls_logits": predictions[0], "bbox_regression": predictions[1]}
    return model.compute_loss(targets, heads, [corners] * len(targets), matches)


@pytest.fixture(scope="module")
def torchvisions() -> TorchvisionSSD:
    return ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)  # only its loss is used


@pytest.mark.parametrize(("n", "g"), [(1, 1), (2, 5), (4, 12)])
def test_loss_and_gradients_are_torchvisions(torchvisions: TorchvisionSSD, n: int, g: int) -> None:
    predictions, truth = batch(n, g, seed=g)
    truth[2][0] = n == 1  # an image without objects, unless it is the only one
    theirs = torchvisions_loss(torchvisions, predictions, truth)
    ours = multibox_loss(predictions, *truth, PRIORS, spec=SPEC)
    assert ours.classification.item() == pytest.approx(theirs["classification"].item(), rel=1e-5)
    assert ours.localization.item() == pytest.approx(theirs["bbox_regression"].item(), rel=1e-5)
    wanted = torch.autograd.grad(sum(theirs.values(), torch.zeros(())), predictions)
    for a, b in zip(torch.autograd.grad(ours.total, predictions), wanted, strict=True):
        assert (a - b).abs().max().item() <= 1e-5 * b.abs().max().item()


@pytest.mark.parametrize("g", [0, 3])
@pytest.mark.parametrize("spec", [SPEC, SIGMOID], ids=["softmax", "sigmoid"])
def test_a_batch_without_objects_is_finite_and_has_a_gradient(spec: object, g: int) -> None:
    predictions, (boxes, labels, _) = batch(2, g)
    valid = torch.zeros(2, g, dtype=torch.bool)
    loss = multibox_loss(predictions, boxes, labels, valid, PRIORS, spec=spec)  # type: ignore[arg-type]
    loss.total.backward()
    assert loss.total.isfinite() and loss.localization.item() == 0
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in predictions)


def test_padding_changes_nothing() -> None:
    predictions, (boxes, labels, valid) = batch(2, 6)
    padded = [torch.cat([part, torch.zeros_like(part)], dim=1) for part in (boxes, labels, valid)]
    plain = multibox_loss(predictions, boxes, labels, valid, PRIORS, spec=SPEC)
    assert [part.item() for part in multibox_loss(predictions, *padded, PRIORS, spec=SPEC)] == [
        part.item() for part in plain
    ]


def test_perfect_predictions_lose_nothing() -> None:
    _, (boxes, labels, valid) = batch(2, 6)
    matches = match(boxes, valid, PRIORS, SPEC.matching, SPEC.matching_size)
    image = torch.arange(2)[:, None]
    columns = torch.where(matches >= 0, labels[image, matches] + 1, 0)
    logits = torch.nn.functional.one_hot(columns, SPEC.columns).float() * 100
    offsets = encode(boxes[image, matches], PRIORS, SPEC.coder)
    loss = multibox_loss((logits, offsets), boxes, labels, valid, PRIORS, spec=SPEC)
    assert loss.total.item() == pytest.approx(0, abs=1e-6)


def test_more_negatives_weigh_more_and_none_leave_the_positives() -> None:
    predictions, truth = batch(2, 4)
    none, three, ten = (
        multibox_loss(
            predictions, *truth, PRIORS, spec=SPEC, rules=rules_for(SPEC, negative_ratio=ratio)
        ).classification.item()
        for ratio in (0.0, 3.0, 10.0)
    )
    assert 0 < none < three < ten


def test_negatives_run_out_without_positives_being_counted_twice() -> None:
    (logits, offsets), truth = batch(1, 3)
    loss = multibox_loss((logits, offsets), *truth, PRIORS, spec=SPEC, rules=rules_for(SPEC, negative_ratio=1e4))
    matches = match(truth[0], truth[2], PRIORS, SPEC.matching, SPEC.matching_size)[0]
    columns = torch.where(matches >= 0, truth[1][0, matches] + 1, 0)
    wanted = torch.nn.functional.cross_entropy(logits[0], columns, reduction="sum") / (matches >= 0).sum()
    assert loss.classification.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_sigmoid_models_learn_by_focal_loss_and_never_from_the_background_column() -> None:
    (logits, offsets), (boxes, labels, valid) = batch(2, 4)
    loss = multibox_loss((logits, offsets), boxes, labels, valid, PRIORS, spec=SIGMOID)
    matches = match(boxes, valid, PRIORS, SPEC.matching, SPEC.matching_size)
    wanted = torch.nn.functional.one_hot(torch.where(matches >= 0, labels[[[0], [1]], matches] + 1, 0), SPEC.columns)
    p, t = logits[..., 1:].sigmoid(), wanted[..., 1:].bool()
    each = torch.where(t, -0.25 * (1 - p) ** 2 * p.log(), -0.75 * p**2 * (1 - p).log())
    assert loss.classification.item() == pytest.approx((each.sum() / (matches >= 0).sum()).item(), rel=1e-4)
    loss.total.backward()
    assert logits.grad is not None and (logits.grad[..., 0] == 0).all()


@torch.no_grad()
def plain_loss(
    predictions: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor, Tensor], spec: ModelSpec
) -> list[tuple[Tensor, Tensor, int]]:
    """Of every image the summed classification loss, the summed localisation loss and the matched priors."""
    matches = match(truth[0], truth[2], PRIORS, spec.matching, spec.matching_size)
    parts = []
    for logits, offsets, boxes, labels, found in zip(*predictions, truth[0], truth[1], matches, strict=True):
        positive = found >= 0
        target = encode(boxes[found[positive]], PRIORS[positive], spec.coder)
        box_loss = torch.nn.functional.smooth_l1_loss(offsets[positive], target, reduction="sum")
        columns = torch.where(positive, labels[found] + 1, 0)
        if spec.activation == "sigmoid":
            first = int(not spec.loss.background_learns)
            wanted = torch.nn.functional.one_hot(columns, spec.columns)[:, first:].bool()
            p, alpha, gamma = logits[:, first:].sigmoid(), spec.loss.focal_alpha, spec.loss.focal_gamma
            hit, miss = -alpha * (1 - p) ** gamma * p.log(), -(1 - alpha) * p**gamma * (1 - p).log()
            class_loss = torch.where(wanted, hit, miss).sum()
        else:
            entropy = torch.nn.functional.cross_entropy(logits, columns, reduction="none")
            hard = entropy[~positive].sort(descending=True).values[: 3 * int(positive.sum())]
            class_loss = entropy[positive].sum() + hard.sum()
        parts.append((class_loss, box_loss, int(positive.sum())))
    return parts


NORMALIZERS = {
    "positives": lambda parts: [1 / max(1, sum(count for *_, count in parts))] * len(parts),
    "positives_per_image": lambda parts: [1 / count / len(parts) if count else 0.0 for *_, count in parts],
    "images": lambda parts: [1 / sum(max(1, count) for *_, count in parts)] * len(parts),
}
"""What the losses of each image are multiplied by."""


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("base", [SPEC, SIGMOID], ids=["softmax", "sigmoid"])
def test_each_normaliser_is_that_of_a_plain_loop_over_images(base: ModelSpec, normalizer: str, empty: bool) -> None:
    spec = replace(base, loss=LossSpec(normalizer=normalizer))  # type: ignore[arg-type]
    predictions, truth = batch(3, 4, seed=9)
    truth[2][1] = not empty
    loss, parts = multibox_loss(predictions, *truth, PRIORS, spec=spec), plain_loss(predictions, truth, spec)
    weights = NORMALIZERS[normalizer](parts)
    assert (parts[1][2] == 0) == empty
    for ours, part in ((loss.classification, 0), (loss.localization, 1)):
        wanted = sum(float(w) * float(image[part]) for w, image in zip(weights, parts, strict=True))
        assert ours.item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_no_normaliser_divides_by_nothing(normalizer: str) -> None:
    predictions, (boxes, labels, _) = batch(2, 3)
    spec = replace(SIGMOID, loss=LossSpec(normalizer=normalizer))  # type: ignore[arg-type]
    loss = multibox_loss(predictions, boxes, labels, torch.zeros(2, 3, dtype=torch.bool), PRIORS, spec=spec)
    assert loss.total.isfinite() and loss.localization.item() == 0


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.75, 2.0), (0.25, 0.0), (0.5, 1.5)])
@pytest.mark.parametrize("learns", [False, True])
def test_the_focal_loss_has_the_numbers_of_the_sheet(alpha: float, gamma: float, learns: bool) -> None:
    rule = LossSpec(focal_alpha=alpha, focal_gamma=gamma, background_learns=learns)
    spec = replace(SIGMOID, loss=rule)
    predictions, truth = batch(2, 4)
    parts = plain_loss(predictions, truth, spec)
    wanted = sum(float(image[0]) for image in parts) / sum(count for *_, count in parts)
    loss = multibox_loss(predictions, *truth, PRIORS, spec=spec)
    assert loss.classification.item() == pytest.approx(wanted, rel=1e-4)


def test_a_background_that_learns_is_the_target_of_unmatched_priors() -> None:
    spec = replace(SIGMOID, loss=LossSpec(background_learns=True))
    (logits, offsets), truth = batch(2, 4)
    multibox_loss((logits, offsets), *truth, PRIORS, spec=spec).total.backward()
    matches = match(truth[0], truth[2], PRIORS, spec.matching, spec.matching_size)
    assert logits.grad is not None
    assert (logits.grad[..., 0][matches < 0] < 0).all() and (logits.grad[..., 0][matches >= 0] > 0).all()


def test_a_model_without_background_has_none_that_could_learn() -> None:
    spec = replace(SIGMOID, background=False, loss=LossSpec(background_learns=True))
    (logits, offsets), truth = batch(2, 4)
    alone = multibox_loss((logits[..., 1:], offsets), *truth, PRIORS, spec=spec)
    wanted = multibox_loss((logits, offsets), *truth, PRIORS, spec=SIGMOID)
    assert alone.classification.item() == pytest.approx(wanted.classification.item())


@pytest.mark.parametrize("base", [SPEC, SIGMOID], ids=["softmax", "sigmoid"])
def test_the_weight_of_classification_is_that_of_the_sheet(base: ModelSpec) -> None:
    predictions, truth = batch(2, 4)
    plain = multibox_loss(predictions, *truth, PRIORS, spec=base)
    heavy = multibox_loss(predictions, *truth, PRIORS, spec=replace(base, loss=LossSpec(classification_weight=4.0)))
    assert heavy.classification.item() == pytest.approx(4 * plain.classification.item())
    assert heavy.localization.item() == plain.localization.item()


def test_half_precision_predictions_give_a_float32_loss() -> None:
    (logits, offsets), truth = batch(2, 4)
    exact = multibox_loss((logits, offsets), *truth, PRIORS, spec=SPEC)
    half = multibox_loss((logits.bfloat16(), offsets.bfloat16()), *truth, PRIORS, spec=SPEC)
    assert half.total.dtype == torch.float32
    assert half.total.item() == pytest.approx(exact.total.item(), rel=0.02)


def test_the_total_is_the_sum_of_both() -> None:
    assert MultiBoxLoss(torch.tensor(2.0), torch.tensor(0.5)).total.item() == 2.5
