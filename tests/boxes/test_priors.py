"""Priors: order, sizes, clipping, and Caffe's own boxes."""

import math

import pytest
import torch

from multibox.boxes.coding import to_corners
from multibox.boxes.priors import make_priors, shapes_per_cell
from multibox.errors import ModelError
from multibox.spec import PriorLevel, PriorsSpec
from multibox.zoo import load_spec

MAPS_300 = [(n, n) for n in (38, 19, 10, 5, 3, 1)]
LEVEL = PriorLevel(min_size=30, max_size=60, ratios=(2,))


def test_priors_of_a_cell_stand_in_caffes_order() -> None:
    priors = make_priors(PriorsSpec(levels=(LEVEL,)), (100, 100), [(1, 1)])
    root = math.sqrt(2)
    sides = [(30, 30), (math.sqrt(1800),) * 2, (30 * root, 30 / root), (30 / root, 30 * root)]
    assert priors[:, :2].tolist() == [[0.5, 0.5]] * 4
    assert torch.allclose(priors[:, 2:], torch.tensor(sides) / 100)


def test_cells_run_along_x_first_and_levels_follow_each_other() -> None:
    square = PriorLevel(min_size=10)
    priors = make_priors(PriorsSpec(levels=(square, square)), (100, 100), [(2, 2), (1, 1)])
    assert priors[:, :2].tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75], [0.5, 0.5]]


def test_height_and_width_of_the_input_are_not_confused() -> None:
    priors = make_priors(PriorsSpec(levels=(PriorLevel(min_size=10, step=10),)), (50, 100), [(5, 10)])
    assert priors[0].tolist() == pytest.approx([0.05, 0.1, 0.1, 0.2])
    assert priors[-1].tolist() == pytest.approx([0.95, 0.9, 0.1, 0.2])


def test_a_step_places_centres_and_without_one_cells_share_the_side() -> None:
    stepped = make_priors(PriorsSpec(levels=(PriorLevel(min_size=10, step=32),)), (300, 300), [(10, 10)])
    shared = make_priors(PriorsSpec(levels=(PriorLevel(min_size=10),)), (300, 300), [(10, 10)])
    assert stepped[-1, 0].item() == pytest.approx(304 / 300)
    assert shared[-1, 0].item() == pytest.approx(0.95)


def test_truncation_cuts_sizes_before_the_square_root_is_taken() -> None:
    level = PriorLevel(min_size=20.48, max_size=51.2)
    priors = make_priors(PriorsSpec(levels=(level,), truncate=True), (512, 512), [(1, 1)]) * 512
    assert priors[:, 2].tolist() == pytest.approx([20, math.sqrt(20 * 51)])


def test_clipping_limits_sizes_alone_or_centres_too() -> None:
    level = PriorLevel(min_size=400, step=32)
    by_size = make_priors(PriorsSpec(levels=(level,), clip="size"), (300, 300), [(10, 10)])
    by_form = make_priors(PriorsSpec(levels=(level,), clip="center_form"), (300, 300), [(10, 10)])
    assert by_size[-1, 2].item() == 1 and by_size[-1, 0].item() > 1
    assert by_form.max().item() == 1


def test_listed_shapes_are_taken_as_they_are() -> None:
    level = PriorLevel(shapes=((12, 30), (40, 8)))
    assert shapes_per_cell(level) == 2
    priors = make_priors(PriorsSpec(levels=(level,)), (100, 100), [(1, 1)])
    assert torch.allclose(priors[:, 2:], torch.tensor([[0.12, 0.3], [0.4, 0.08]]))


@pytest.mark.parametrize(("ratios", "count"), [((), 2), ((2,), 4), ((2, 3), 6)])
def test_shapes_per_cell_counts_what_is_made(ratios: tuple[float, ...], count: int) -> None:
    assert shapes_per_cell(PriorLevel(min_size=30, max_size=60, ratios=ratios)) == count


def test_ssd300_has_8732_priors_of_which_none_is_empty() -> None:
    spec = load_spec("ssd300_vgg16.torchvision_coco")
    priors = make_priors(spec.priors, (300, 300), MAPS_300)
    assert len(priors) == 8732 and priors.dtype == torch.float32
    assert (to_corners(priors)[:, 2:] > to_corners(priors)[:, :2]).all()


def test_maps_that_do_not_fit_the_levels_are_refused() -> None:
    with pytest.raises(ModelError, match="1 prior levels but the network gives 2 maps"):
        make_priors(PriorsSpec(levels=(LEVEL,)), (100, 100), [(2, 2), (1, 1)])


def test_a_level_without_any_size_is_refused() -> None:
    with pytest.raises(ModelError, match="neither 'shapes' nor 'min_size'"):
        shapes_per_cell(PriorLevel())
