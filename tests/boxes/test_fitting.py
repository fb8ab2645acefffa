"""Clusters of widths and heights: they stand for their objects, are found again, and are no more than are worth it."""

import pytest
import torch

from multibox.boxes.fitting import cluster_shapes, fit_shapes, shape_iou


def scattered(centers: list[tuple[float, float]], each: int = 50) -> torch.Tensor:
    """Objects around these sizes, within 5 %."""
    noise = 1 + 0.05 * torch.rand(len(centers), each, 2, generator=torch.Generator().manual_seed(0))
    return (torch.tensor(centers)[:, None] * noise).reshape(-1, 2)


def test_shapes_overlap_as_boxes_of_one_centre_do():
    iou = shape_iou(torch.tensor([[10.0, 20.0]]), torch.tensor([[10.0, 20.0], [20.0, 10.0], [5.0, 10.0]]))
    torch.testing.assert_close(iou, torch.tensor([[1.0, 1 / 3, 0.25]]))


def test_clusters_are_the_groups_that_there_are_in_the_order_of_their_area():
    centers = [(20.0, 20.0), (30.0, 90.0), (90.0, 40.0)]
    shapes = cluster_shapes(scattered(centers), 3)
    torch.testing.assert_close(shapes, 1.025 * torch.tensor(centers), rtol=0.02, atol=0)
    shuffled = scattered(centers)[torch.randperm(150, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(cluster_shapes(shuffled, 3), shapes)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_one_object_and_equal_objects_are_one_cluster(count):
    assert cluster_shapes(torch.tensor([[7.0, 9.0]]), count).tolist() == [[7.0, 9.0]]
    assert cluster_shapes(torch.full((30, 2), 5.0), count).tolist() == [[5.0, 5.0]]


def test_a_level_has_as_many_shapes_as_kinds_of_objects():
    for centers in ([(40.0, 40.0)], [(30.0, 60.0), (60.0, 30.0)], [(30.0, 60.0), (60.0, 30.0), (60.0, 60.0)]):
        assert len(fit_shapes(scattered(centers), 6, stride=16.0)) == len(centers)
    assert len(fit_shapes(scattered([(30.0, 60.0), (60.0, 30.0)]), 1, stride=16.0)) == 1
