"""Levels and priors fitted to objects: every size gets a level of its own, and the new sheet builds."""

from dataclasses import replace

import pytest
import torch

from multibox.boxes.priors import shapes_per_cell
from multibox.errors import DataError
from multibox.network.build import build_model
from multibox.sheet import read_sheet, write_sheet
from multibox.zoo import load_spec
from multibox.zoo.fitting import checked, fit_spec, strides_of

LITE = load_spec("ssdlite320_mobilenet_v3_large").with_names(("a",))


def squares(*sides: float, each: int = 20) -> torch.Tensor:
    return torch.tensor([[float(side), float(side)] for side in sides for _ in range(each)])


def test_small_objects_get_a_level_of_stride_8_and_large_levels_without_objects_go():
    spec = fit_spec(LITE, squares(20, 50))
    assert spec.backbone.taps == ("7.expand", "13.expand", "16")
    assert [round(stride) for stride in strides_of(spec)] == [8, 16, 32]
    assert spec.priors.levels[0].shapes == ((20, 20),) and spec.priors.levels[1].shapes == ((50, 50),)
    assert len(spec.priors.levels[2].shapes) == 1  # the backbone's, though no object is of its size


def test_large_objects_keep_the_coarse_levels_and_add_no_fine_one():
    spec = fit_spec(LITE, squares(60, 300))
    assert spec.backbone.taps == LITE.backbone.taps
    assert [level.shapes for level in spec.priors.levels][-1] == ((300, 300),)
    assert [round(stride) for stride in strides_of(spec)] == [16, 32, 64, 107]


def test_a_rare_small_object_is_not_worth_a_level():
    assert fit_spec(LITE, torch.cat([squares(20, each=1), squares(60, each=200)])).backbone.taps == LITE.backbone.taps


def test_a_pyramid_keeps_its_levels_and_has_the_same_shapes_on_each_in_strides():
    template = load_spec("ssd320_mobilenet_v2_fpnlite").with_names(("a",))
    spec = fit_spec(template, torch.cat([squares(24, 90), torch.tensor([[40.0, 90.0], [30.0, 20.0]])]))
    strides = strides_of(spec)
    first = torch.tensor(spec.priors.levels[0].shapes) / strides[0]
    for level, stride in zip(spec.priors.levels, strides, strict=True):
        assert shapes_per_cell(level) == shapes_per_cell(template.priors.levels[0])
        torch.testing.assert_close(torch.tensor(level.shapes) / stride, first, atol=0.05, rtol=0)
    assert build_model(spec).priors.shape == build_model(template).priors.shape


@pytest.mark.parametrize(
    "name", ["ssd300_vgg16", "ssd300_resnet50", "ssdlite320_mobilenext", "ssd320_mobilenet_v2_fpnlite"]
)
def test_the_sheets_of_every_kind_of_network_build(name):
    spec = fit_spec(load_spec(name).with_names(("a", "b")), squares(12, 30, 70, 140, 280))
    assert len(build_model(spec).level_sizes) == len(spec.priors.levels)
    assert (spec.tag, spec.check, spec.weights, spec.aliases) == ("fitted", None, None, ())


def test_the_written_sheet_is_read_back_with_counts_that_are_true(tmp_path):
    spec = checked(fit_spec(LITE, squares(20, 60)))
    write_sheet(spec, tmp_path / "fitted.toml")
    again = read_sheet(tmp_path / "fitted.toml")
    network = build_model(again)
    assert again == spec
    assert again.check.priors == len(network.priors)
    assert again.check.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_a_dataset_without_objects_is_refused():
    with pytest.raises(DataError, match="without objects"):
        fit_spec(replace(LITE), torch.zeros(0, 2))
