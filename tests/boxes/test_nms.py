"""NMS: equal to the naive greedy rule, box for box, whatever the boxes."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from multibox.boxes.nms import best_first, nms


def naive(
    boxes: Tensor, scores: Tensor, groups: Tensor, iou: float, inclusive: bool, eps: float, one: float
) -> list[int]:
    """The rule as it is written in papers: keep the best, drop what overlaps it, repeat; float32 throughout."""
    b, g = boxes.numpy(), groups.numpy()
    side, threshold = np.float32(one), np.float32(iou)
    area = (b[:, 2] - b[:, 0] + side) * (b[:, 3] - b[:, 1] + side)
    gone, kept = np.zeros(len(b), dtype=bool), []
    for i in np.lexsort((np.arange(len(b)), -scores.numpy())):
        if gone[i]:
            continue
        kept.append(int(i))
        w = np.maximum(np.minimum(b[i, 2], b[:, 2]) - np.maximum(b[i, 0], b[:, 0]) + side, 0)
        h = np.maximum(np.minimum(b[i, 3], b[:, 3]) - np.maximum(b[i, 1], b[:, 1]) + side, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            overlap = w * h / (area[i] + area - w * h + np.float32(eps))
        gone |= ((overlap >= threshold) if inclusive else (overlap > threshold)) & (g == g[i])
    return kept


def random_set(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A few or many boxes, on a coarse grid (touching, equal, empty, turned over) or not, often of equal score."""
    m = int(rng.choice([0, 1, 2, 5, 20, 100, 400, 1500], p=[0.02, 0.05, 0.1, 0.2, 0.3, 0.25, 0.06, 0.02]))
    boxes: NDArray[np.float32]
    if rng.random() < 0.5:
        boxes = rng.integers(0, rng.choice([5, 20, 300]), (m, 4)).astype(np.float32)
        boxes[:, 2:] += boxes[:, :2] if rng.random() < 0.8 else 0
    else:
        boxes = rng.random((m, 4), dtype=np.float32)
        boxes[:, 2:] = boxes[:, :2] + boxes[:, 2:] * np.float32(rng.choice([0.05, 0.3, 1]))
    ties = rng.random() < 0.5
    scores = (rng.integers(-3, 4, m) / 4).astype(np.float32) if ties else rng.random(m, dtype=np.float32)
    groups = rng.integers(0, rng.choice([1, 3, 90]), m)
    return torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(groups)


def check_random_sets(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        boxes, scores, groups = random_set(rng)
        iou, inclusive = float(rng.choice([0, 0.3, 0.45, 0.5, 0.55, 0.75, 1])), bool(rng.random() < 0.3)
        eps, plus_one = float(rng.choice([0, 0, 1e-5])), bool(rng.random() < 0.2)
        kept = nms(boxes, scores, groups, iou, inclusive=inclusive, eps=eps, plus_one=plus_one)
        assert kept.tolist() == naive(boxes, scores, groups, iou, inclusive, eps, float(plus_one))


def test_the_result_is_the_naive_rules_on_200_random_sets() -> None:
    check_random_sets(200, seed=0)


@pytest.mark.slow
def test_the_result_is_the_naive_rules_on_10000_random_sets() -> None:
    check_random_sets(10_000, seed=1)


@pytest.mark.parametrize("groups", [1, 80])
def test_crowds_of_thousands_are_exact_too(groups: int) -> None:
    rng = np.random.default_rng(groups)
    corner, side = rng.random((2, 6000, 2), dtype=np.float32)
    boxes = torch.from_numpy(np.concatenate([corner, corner + side * np.float32(0.3)], axis=1))
    scores, group = (
        torch.from_numpy(rng.random(6000, dtype=np.float32)),
        torch.from_numpy(rng.integers(0, groups, 6000)),
    )
    assert nms(boxes, scores, group, 0.45).tolist() == naive(boxes, scores, group, 0.45, False, 0, 0)


def test_far_apart_groups_do_not_cost_precision() -> None:
    # Moved by an offset per class, boxes this small fall together in float32: that is why none is used.
    boxes = torch.tensor([[0.1, 0.1, 0.2, 0.2], [0.15, 0.1, 0.25, 0.2], [0.1, 0.1, 0.2, 0.2]]) * 1e-3
    kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([10**6, 10**6, 10**6]), 0.4)
    assert kept.tolist() == [0, 1]


def test_a_chain_of_removals_is_followed_to_its_end() -> None:
    # Each box overlaps the next: the first removes the second, which then cannot remove the third, and so on.
    left = torch.arange(700) * 0.5
    boxes = torch.stack([left, torch.zeros(700), left + 1.0, torch.ones(700)], dim=1)
    kept = nms(boxes, torch.linspace(1, 0.1, 700), torch.zeros(700, dtype=torch.long), 0.3)
    assert kept.tolist() == list(range(0, 700, 2))


def test_what_is_kept_is_kept_again() -> None:
    boxes, scores, groups = random_set(np.random.default_rng(12))
    kept = nms(boxes, scores, groups, 0.45)
    assert nms(boxes[kept], scores[kept], groups[kept], 0.45).tolist() == list(range(len(kept)))


def test_classes_do_not_suppress_each_other() -> None:
    boxes = torch.tensor([[0, 0, 1, 1.0]]).expand(3, 4)
    scores = torch.tensor([0.2, 0.9, 0.5])
    assert nms(boxes, scores, torch.tensor([0, 1, 2]), 0.5).tolist() == [1, 2, 0]
    assert nms(boxes, scores, torch.tensor([0, 0, 0]), 0.5).tolist() == [1]


def test_an_overlap_equal_to_the_threshold_removes_only_where_inclusive() -> None:
    boxes, scores = torch.tensor([[0, 0, 2, 1], [0, 0, 1, 1.0]]), torch.tensor([0.9, 0.8])
    groups = torch.zeros(2, dtype=torch.long)
    assert nms(boxes, scores, groups, 0.5).tolist() == [0, 1]
    assert nms(boxes, scores, groups, 0.5, inclusive=True).tolist() == [0]


def test_equal_scores_keep_the_first() -> None:
    boxes = torch.tensor([[0, 0, 2, 2.0]]).expand(4, 4)
    assert nms(boxes, torch.zeros(4), torch.zeros(4, dtype=torch.long), 0.5).tolist() == [0]
    assert nms(boxes, torch.tensor([-0.0, 0.0, -0.0, 0.0]), torch.arange(4), 0.5).tolist() == [0, 1, 2, 3]


def test_nothing_in_gives_nothing_out() -> None:
    assert nms(torch.empty(0, 4), torch.empty(0), torch.empty(0, dtype=torch.long), 0.5).tolist() == []


def test_best_first_sorts_by_group_then_score_then_index() -> None:
    scores, groups = torch.tensor([0.5, 1.0, 2.0, 0.5, 0.0]), torch.tensor([1, 0, 1, 1, 0])
    assert best_first(scores, groups).tolist() == [1, 4, 2, 0, 3]
