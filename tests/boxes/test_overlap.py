"""IoU: symmetric, 1 with itself, 0 apart, and torchvision's number to the last bit."""

import torch
from torchvision.ops import box_iou

from multibox.boxes.overlap import areas, paired_iou, pairwise_iou

BOXES = torch.tensor([[0, 0, 2, 2], [1, 1, 3, 3], [2, 0, 4, 2], [5, 5, 6, 6]], dtype=torch.float32)


def test_overlap_of_known_boxes() -> None:
    iou = pairwise_iou(BOXES, BOXES)
    assert torch.equal(iou.diagonal(), torch.ones(4))
    assert torch.equal(iou, iou.T)
    assert iou[0].tolist() == [1, torch.tensor(1 / 7).item(), 0, 0]  # touching boxes do not overlap


def test_batches_pairs_and_torchvision_agree_exactly() -> None:
    corner, side = torch.rand(2, 5, 7, 2, generator=torch.Generator().manual_seed(0))
    boxes = torch.cat([corner, corner + side], dim=-1)
    iou = pairwise_iou(boxes, boxes[0])
    assert torch.equal(iou, torch.stack([box_iou(b, boxes[0]) for b in boxes]))
    assert torch.equal(paired_iou(boxes[1], boxes[0]), iou[1].diagonal())


def test_eps_lowers_the_overlap_and_saves_empty_boxes() -> None:
    assert pairwise_iou(BOXES, BOXES, eps=4.0)[0, 0].item() == 0.5
    point = torch.ones(1, 4)
    assert areas(point).item() == 0
    assert pairwise_iou(point, point).isnan().item()
    assert pairwise_iou(point, point, eps=1e-5).item() == 0


def test_no_boxes_have_no_overlap() -> None:
    assert pairwise_iou(torch.empty(2, 0, 4), BOXES).shape == (2, 0, 4)
