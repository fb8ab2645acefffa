"""Post-processing: torchvision's detections, one rule at a time, and the fast way equal to the plain one."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.ssd import SSD as TorchvisionSSD

from multibox.boxes.coding import decode, to_corners
from multibox.boxes.nms import nms
from multibox.boxes.postprocess import Detections, detect, postprocess
from multibox.boxes.priors import make_priors
from multibox.errors import UsageError
from multibox.spec import PostprocessSpec
from multibox.zoo import load_spec

SPEC = load_spec("ssd300_vgg16.torchvision_coco")
PRIORS = make_priors(SPEC.priors, (300, 300), [(n, n) for n in (38, 19, 10, 5, 3, 1)])
RULE = PostprocessSpec(score_threshold=0.1, topk=None, iou=0.5, max_detections=None)
FOUR = torch.tensor([[0, 0, 0.2, 0.2], [0.01, 0, 0.21, 0.2], [0.5, 0.5, 0.7, 0.7], [-0.2, 0.8, 0.3, 1.2]])


def raw(n: int, background: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random logits and offsets; the more background, the fewer pairs pass the threshold."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, len(PRIORS), SPEC.columns, generator=generator) * 2
    logits[..., 0] += background
    return logits, torch.randn(n, len(PRIORS), 4, generator=generator) * 0.5


def run(scores: list[list[float]], rule: PostprocessSpec, **sizes: object) -> Detections:
    """Detections of one image with the four boxes and these scores per class."""
    return postprocess(FOUR[None], torch.tensor(scores)[None], rule, **sizes)[0]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def torchvisions() -> TorchvisionSSD:
    rule = {
        "score_thresh": 0.01,
        "nms_thresh": 0.45,
        "topk_candidates": 400,
        "detections_per_img": 200,
    }  # of its SSD300
    return ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, **rule)


@pytest.mark.parametrize(("n", "background"), [(3, 12.25), (1, 8.0)])
def test_detections_are_torchvisions(torchvisions: TorchvisionSSD, n: int, background: float) -> None:
    logits, offsets = raw(n, background)
    heads = {"cls_logits": logits, "bbox_regression": offsets}
    theirs = torchvisions.postprocess_detections(heads, [to_corners(PRIORS) * 300] * n, [(300, 300)] * n)
    for wanted, ours in zip(theirs, detect(logits, offsets, PRIORS, SPEC), strict=True):
        assert len(ours.scores) == 200
        assert torch.equal(ours.labels + 1, wanted["labels"])
        assert (ours.scores - wanted["scores"]).abs().max() < 1e-6
        assert (ours.boxes * 300 - wanted["boxes"]).abs().max() < 1e-3


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_fast_way_finds_what_decoding_everything_finds(threshold: float, activation: str) -> None:
    rule = replace(SPEC.postprocess, score_threshold=threshold, topk=50)
    spec = replace(SPEC, activation=activation, postprocess=rule)
    logits, offsets = raw(2, 3.0 if activation == "softmax" else -4.0)
    logits, offsets, priors = logits[:, :600], offsets[:, :600], PRIORS[:600]
    scores = logits.softmax(-1) if activation == "softmax" else logits.sigmoid()
    plain = postprocess(decode(offsets, priors, spec.coder), scores[..., 1:], rule)
    for fast, slow in zip(detect(logits, offsets, priors, spec), plain, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(fast, slow, strict=True))


def test_scores_must_be_above_the_threshold_not_at_it() -> None:
    scores = torch.tensor(0.1).item()
    assert run([[scores], [0.0], [0.2], [scores]], RULE).scores.tolist() == pytest.approx([0.2])


def test_equal_scores_come_by_class_then_by_prior() -> None:
    found = run([[0.0, 0.5], [0.0, 0.0], [0.5, 0.5], [0.5, 0.0]], RULE)
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.boxes[:, 1].tolist() == pytest.approx([0.5, 0.8, 0.0, 0.5])


def test_boxes_are_clipped_before_suppression_where_asked() -> None:
    scores = [[0.0], [0.0], [0.0], [0.9]]
    assert run(scores, RULE).boxes[0].tolist() == pytest.approx([0, 0.8, 0.3, 1])
    assert run(scores, replace(RULE, clip=False)).boxes[0].tolist() == pytest.approx([-0.2, 0.8, 0.3, 1.2])


@pytest.mark.parametrize(
    ("scope", "k", "wanted"),
    [("class", 1, [0.9, 0.6]), ("global", 2, [0.9, 0.8]), ("level", 1, [0.9, 0.7]), ("level", 2, [0.9, 0.8, 0.7, 0.6])],
)
def test_top_k_counts_within_its_scope(scope: str, k: int, wanted: list[float]) -> None:
    rule = replace(RULE, topk=k, topk_scope=scope, iou=0.99)
    found = run([[0.9, 0.0], [0.8, 0.0], [0.7, 0.0], [0.0, 0.6]], rule, level_sizes=(2, 2))
    assert found.scores.tolist() == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("order", "scores", "labels"),
    [
        ("score_descending", [0.9, 0.8, 0.7], [1, 0, 1]),
        ("score_ascending", [0.7, 0.8, 0.9], [1, 0, 1]),
        ("class", [0.8, 0.9, 0.7], [0, 1, 1]),
    ],
)
def test_the_best_come_out_in_the_order_of_the_sheet(order: str, scores: list[float], labels: list[int]) -> None:
    found = run([[0.8, 0.0], [0.0, 0.9], [0.6, 0.0], [0.0, 0.7]], replace(RULE, order=order, max_detections=3))
    assert found.scores.tolist() == pytest.approx(scores)
    assert found.labels.tolist() == labels


def test_the_rule_of_whole_pixels_joins_boxes_that_barely_miss() -> None:
    # 10 pixels of input: two boxes of 2 px moved by 1 overlap by 1/3, and by 6/12 when every side is 1 px longer.
    boxes = torch.tensor([[[0.0, 0.0, 0.2, 0.2], [0.1, 0.0, 0.3, 0.2]]])
    scores, rule = torch.tensor([[[0.9], [0.8]]]), replace(RULE, iou=0.4)
    assert len(postprocess(boxes, scores, rule)[0].scores) == 2
    assert len(postprocess(boxes, scores, replace(rule, plus_one=True), input_size=(10, 10))[0].scores) == 1


def test_a_limit_per_class_counts_what_suppression_left() -> None:
    scores = [[0.9, 0.5], [0.8, 0.0], [0.7, 0.0], [0.6, 0.0]]  # the second box overlaps the first
    found = run(scores, replace(RULE, max_per_class=2))
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.5])
    assert run(scores, replace(RULE, max_per_class=1)).labels.tolist() == [0, 1]
    assert run(scores, replace(RULE, max_per_class=2, max_detections=2)).scores.tolist() == pytest.approx([0.9, 0.7])
    by_class = run(scores, replace(RULE, max_per_class=1, order="class"))
    assert by_class.scores.tolist() == pytest.approx([0.9, 0.5])


@pytest.mark.parametrize("limit", [None, 5, 40])
@pytest.mark.parametrize("most", [1, 3])
def test_limits_per_class_and_per_image_are_those_of_a_plain_loop(most: int, limit: int | None) -> None:
    corner, side = torch.rand(2, 3, 400, 2, generator=torch.Generator().manual_seed(5))
    boxes = torch.cat([corner, corner + side * 0.4], dim=-1).clamp(max=1)
    scores = torch.rand(3, 400, 6, generator=torch.Generator().manual_seed(6))
    scores[..., 0] = 0.1 + scores[..., 0] * 0.05  # a class whose best stand behind all others
    rule = replace(RULE, max_per_class=most, max_detections=limit)
    for found, box, score in zip(postprocess(boxes, scores, rule), boxes, scores, strict=True):
        kept = []
        for label in range(6):
            passed = (score[:, label] > rule.score_threshold).nonzero()[:, 0]
            best = nms(box[passed], score[passed, label], torch.zeros_like(passed), rule.iou)[:most]
            kept += [(score[prior, label].item(), label, prior) for prior in passed[best].tolist()]
        kept = sorted(kept, reverse=True)[:limit]
        assert found.scores.tolist() == [value for value, _, _ in kept]
        assert found.labels.tolist() == [label for _, label, _ in kept]
        assert torch.equal(found.boxes, box[[prior for _, _, prior in kept]])


def test_boxes_without_area_are_left_out_where_asked_once_they_are_clipped() -> None:
    boxes = torch.tensor([[[0.1, 0.1, 0.1, 0.3], [0.2, 0.4, 0.5, 0.4], [-0.3, 0.2, -0.1, 0.4], [0.2, 0.2, 0.4, 0.4]]])
    scores = torch.tensor([[[0.9], [0.8], [0.7], [0.6]]])
    assert len(postprocess(boxes, scores, RULE)[0].scores) == 4
    assert postprocess(boxes, scores, replace(RULE, drop_empty=True))[0].scores.tolist() == pytest.approx([0.6])
    unclipped = postprocess(boxes, scores, replace(RULE, drop_empty=True, clip=False))[0]
    assert unclipped.scores.tolist() == pytest.approx([0.7, 0.6])


@pytest.mark.parametrize(("scope", "wanted"), [("class", [0.8]), ("level", []), ("global", [])])
def test_a_top_k_per_level_or_image_counts_empty_boxes_one_per_class_does_not(scope: str, wanted: list[float]) -> None:
    boxes = torch.tensor([[[0.1, 0.1, 0.1, 0.3], [0.2, 0.4, 0.5, 0.6]]])
    rule = replace(RULE, topk=1, topk_scope=scope, drop_empty=True)
    found = postprocess(boxes, torch.tensor([[[0.9], [0.8]]]), rule, level_sizes=(2,))[0]
    assert found.scores.tolist() == pytest.approx(wanted)


def test_images_of_a_batch_do_not_disturb_each_other() -> None:
    logits, offsets = raw(4, 12.25)
    logits[2, :, 0] = 100  # nothing in the third image
    together = detect(logits, offsets, PRIORS, SPEC)
    assert len(together[2].scores) == 0 and together[2].boxes.shape == (0, 4)
    for i, image in enumerate(together):
        alone = detect(logits[i : i + 1], offsets[i : i + 1], PRIORS, SPEC)[0]
        assert all(torch.equal(a, b) for a, b in zip(image, alone, strict=True))


@pytest.mark.parametrize("copies", [1, 5000])
def test_trying_the_best_first_changes_nothing_whether_they_suffice_or_not(copies: int) -> None:
    corner, side = torch.rand(2, 2, 5000, 2, generator=torch.Generator().manual_seed(3))
    boxes = torch.cat([corner, corner + side * 0.2], dim=-1)
    boxes[1, :copies] = boxes[1, 0]  # with so many copies of one box, the best of the second image leave too few
    scores = torch.rand(2, 5000, 1, generator=torch.Generator().manual_seed(4))
    rule = replace(RULE, score_threshold=0.0, max_detections=10, clip=False)
    for found, box, score in zip(postprocess(boxes, scores, rule), boxes, scores[..., 0], strict=True):
        kept = nms(box, score, torch.zeros(5000, dtype=torch.long), rule.iou)[:10]
        assert torch.equal(found.boxes, box[kept]) and torch.equal(found.scores, score[kept])


def test_half_precision_logits_and_empty_batches_are_fine() -> None:
    logits, offsets = raw(1, 12.25)
    found = detect(logits.bfloat16(), offsets.bfloat16(), PRIORS, SPEC)[0]
    assert found.scores.dtype == torch.float32 and len(found.scores) > 100
    assert detect(logits[:0], offsets[:0], PRIORS, SPEC) == []


def test_what_a_rule_needs_and_does_not_get_is_said() -> None:
    scores = [[0.9], [0.0], [0.0], [0.0]]
    with pytest.raises(UsageError, match="level_sizes"):
        run(scores, replace(RULE, topk=1, topk_scope="level"))
    with pytest.raises(UsageError, match="input_size"):
        run(scores, replace(RULE, plus_one=True))
