"""A sheet's levels and priors on maps of other sizes."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest

from multibox.errors import ModelError
from multibox.spec import ModelSpec
from multibox.zoo import load_spec
from multibox.zoo.scaling import Layout, Size, layout_of, scaled_priors, with_levels


def halved(side: int, shift: int) -> int:
    return -(-side // 2**shift)


def lite(height: int, width: int) -> tuple[ModelSpec, list[Size]]:
    """SSDLite's sheet for that input, and the maps of its backbone."""
    spec = load_spec("ssdlite320_mobilenet_v3_large")
    return (
        replace(spec, input=replace(spec.input, height=height, width=width)),
        [(halved(height, shift), halved(width, shift)) for shift in (4, 5)],
    )


LITE_SPEC, LITE_TAPS = lite(320, 320)
LITE = layout_of(LITE_SPEC, LITE_TAPS)


def sides(layout: Layout) -> tuple[int, ...]:
    """The shorter side of every map."""
    return tuple(min(size) for size in layout.maps)


def fitted(height: int, width: int) -> tuple[ModelSpec, Layout]:
    spec, taps = lite(height, width)
    spec = with_levels(spec, LITE, taps)
    return spec, layout_of(spec, taps)


def test_the_maps_of_the_papers_models() -> None:
    assert sides(LITE) == (20, 10, 5, 3, 2, 1) and LITE.strides == (16, 32, 64, 128, 128, 256)
    vgg = load_spec("ssd300_vgg16")
    assert sides(layout_of(vgg, [(38, 38), (19, 19)])) == (38, 19, 10, 5, 3, 1)
    assert sides(layout_of(load_spec("ssd512_vgg16"), [(64, 64), (32, 32)])) == (64, 32, 16, 8, 4, 2, 1)
    pyramid = load_spec("ssd320_mobilenet_v2_fpnlite")
    assert sides(layout_of(pyramid, [(40, 40), (20, 20), (10, 10)])) == (40, 20, 10, 5, 3)


def test_the_same_maps_leave_a_sheet_as_it_is() -> None:
    assert with_levels(LITE_SPEC, LITE, LITE_TAPS) == LITE_SPEC


def test_an_input_twice_as_large_has_one_level_more_and_the_same_shares_on_the_same_maps() -> None:
    spec, layout = fitted(640, 640)
    assert sides(layout) == (40, 20, 10, 5, 3, 2, 1)
    sizes = [level.min_size for level in spec.priors.levels]
    assert sizes[1:] == [2 * level.min_size for level in LITE_SPEC.priors.levels]
    assert sizes[0] == pytest.approx(2 * 64 * 64 / 112)  # as from the second to the first


def test_an_input_half_as_large_has_one_level_less() -> None:
    spec, layout = fitted(160, 160)
    assert sides(layout) == (10, 5, 3, 2, 1)
    assert [level.min_size for level in spec.priors.levels] == [56, 80, 104, 128, 152]
    assert [level.max_size for level in spec.priors.levels] == [80, 104, 128, 152, 160]
    assert spec.extras is not None and len(spec.extras.blocks) == 3


def test_on_inputs_that_are_not_square_priors_are_squares_of_the_same_share_of_the_area() -> None:
    spec, layout = fitted(256, 400)  # of the area of 320 x 320
    assert layout.maps == ((16, 25), (8, 13), (4, 7), (2, 4), (1, 2), (1, 1))
    assert spec.priors.levels[0].min_size == pytest.approx(64, abs=0.5)
    assert spec.priors.levels[-1].min_size == 304
    assert fitted(400, 256)[0].priors == spec.priors


def test_the_rule_leads_from_ssd300_to_the_sizes_that_ssd512_was_published_with() -> None:
    small, large = load_spec("ssd300_vgg16"), load_spec("ssd512_vgg16")
    priors = scaled_priors(small.priors, layout_of(small, [(38, 38), (19, 19)]), layout_of(large, [(64, 64), (32, 32)]))
    for ours, published in zip(priors.levels, large.priors.levels, strict=True):
        assert ours.min_size and published.min_size and 0.7 < ours.min_size / published.min_size < 1.1
        assert ours.ratios == published.ratios


def test_anchors_of_a_pyramid_stay_four_cells_large() -> None:
    spec = load_spec("ssd320_mobilenet_v2_fpnlite")
    template = layout_of(spec, [(40, 40), (20, 20), (10, 10)])
    larger = replace(spec, input=replace(spec.input, height=640, width=960))
    larger = with_levels(larger, template, [(80, 120), (40, 60), (20, 30)])
    assert larger.fpn is not None and larger.fpn.extra_levels == 3
    assert [level.shapes[0] for level in larger.priors.levels[:4]] == [(side, side) for side in (32, 64, 128, 256)]
    assert larger.priors.levels[4].shapes[0][0] == pytest.approx(512, rel=0.05)  # 5 x 8 cells, not 5 x 7.5


def test_a_backbone_with_one_map_more_takes_the_place_of_one_extra_level() -> None:
    spec = load_spec("ssd300_vgg16")
    template = layout_of(spec, [(38, 38), (19, 19)])
    more = with_levels(spec, template, [(38, 38), (19, 19), (10, 10)])
    assert spec.extras and more.extras and more.extras.blocks == spec.extras.blocks[1:]
    assert more.priors == spec.priors
    less = with_levels(spec, template, [(38, 38)])
    assert less.extras and less.extras.blocks == (spec.extras.blocks[0], *spec.extras.blocks)


def test_where_maps_differ_every_extra_level_halves() -> None:
    spec = load_spec("ssd300_vgg16")
    other = with_levels(spec, layout_of(spec, [(38, 38), (19, 19)]), [(37, 37), (18, 18)])
    assert other.extras and {(b.stride, b.padding, b.kernel) for b in other.extras.blocks} == {(2, 1, 3)}
    assert sides(layout_of(other, [(37, 37), (18, 18)])) == (37, 18, 9, 5, 3, 2, 1)
    assert all(level.step is None for level in other.priors.levels)


def test_levels_end_where_priors_are_as_large_as_the_sheets_largest() -> None:
    spec = load_spec("ssdlite320x240_slim")  # whose last map has 4 x 5 cells
    template = layout_of(spec, [(30, 40), (15, 20), (8, 10)])
    larger = replace(spec, input=replace(spec.input, height=480, width=640))
    larger = with_levels(larger, template, [(60, 80), (30, 40), (15, 20)])
    assert sides(layout_of(larger, [(60, 80), (30, 40), (15, 20)])) == (60, 30, 15, 8, 4)


def test_a_sheet_whose_extras_feed_on_a_tap_of_their_own_keeps_at_least_one() -> None:
    spec = load_spec("ssdlite300_squeezenet")
    template = layout_of(spec, [(18, 18), (18, 18)])
    tiny = replace(spec, input=replace(spec.input, height=40, width=40))
    assert sides(layout_of(with_levels(tiny, template, [(2, 2), (2, 2)]), [(2, 2), (2, 2)])) == (2, 1)
    with pytest.raises(ModelError, match="an input of 40x40 is too small for this model, whose maps would be 1x1, 1x1"):
        with_levels(tiny, template, [(1, 1), (1, 1)])


def test_at_any_size_levels_grow_and_sizes_rise_with_them() -> None:
    rng = random.Random(0)
    for _ in range(300):
        height, width = rng.randint(96, 2000), rng.randint(96, 2000)
        spec, layout = fitted(height, width)
        assert layout.cells[-1] == 1 and all(a > b for a, b in pairwise(layout.cells))
        assert len(spec.priors.levels) == len(layout.maps)
        sizes = [level.min_size or math.nan for level in spec.priors.levels]
        assert all(a < b for a, b in pairwise(sizes))
        assert sizes[-1] == pytest.approx(0.95 * math.sqrt(height * width))
        # in cells of the finest map: SSDLite's own is 4
        assert 2 < sizes[0] / 16 < 6
