"""Batches at several sizes: priors keep their pixels, draws repeat, and the network that is kept stays as it was."""

from dataclasses import replace

import pytest
import torch

from multibox.errors import UsageError
from multibox.network.build import build_model
from multibox.training.feed.multi_scale import draw_scale, scales_of
from multibox.training.train import train
from multibox.weights import checkpoint
from multibox.zoo import load_spec


@pytest.fixture(scope="module")
def lite():
    return build_model(load_spec("ssdlite320_mobilenet_v3_large").with_names(("a",)))


def test_without_a_share_there_is_the_networks_own_size_alone(lite):
    (own,) = scales_of(lite, 0.0)
    assert own.priors is lite.priors and own.size == (320, 320) and own.level_sizes == lite.level_sizes


def test_sizes_lie_within_the_share_in_steps_of_32(lite):
    assert sorted(scale.size for scale in scales_of(lite, 0.25)) == [(side, side) for side in (256, 288, 320, 352, 384)]


@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "ssd320_mobilenet_v2_fpnlite", "ssd300_resnet50"])
def test_priors_keep_their_pixels_and_fit_what_the_network_says(name):
    network = build_model(load_spec(name).with_names(("a",))).eval()
    for scale in scales_of(network, 0.25):
        side = scale.size[0]
        with torch.no_grad():
            logits, _ = network(scale.resized(torch.zeros(1, 3, *network_size(network))))
        assert logits.shape[1] == len(scale.priors) == sum(scale.level_sizes)
        first = torch.tensor(network_size(network)[0]) * network.priors[:3, 2:]
        torch.testing.assert_close(side * scale.priors[:3, 2:], first, rtol=1e-4, atol=0)


def network_size(network) -> tuple[int, int]:
    return network.spec.input.height, network.spec.input.width


def test_laying_priors_changes_neither_mode_nor_priors_of_the_network(lite):
    lite.train()
    lite.backbone.eval()
    before = lite.priors.clone()
    scales_of(lite, 0.25)
    assert lite.training and not lite.backbone.training and not any(m.training for m in lite.backbone.modules())
    assert torch.equal(lite.priors, before)
    lite.train()


def test_sizes_at_which_the_last_level_is_empty_are_left_out():
    network = build_model(load_spec("ssd300_vgg16").with_names(("a",)))
    assert [scale.size[0] for scale in scales_of(network, 0.25)] == [268, 332, 364, 300]


def test_draws_depend_on_seed_and_step_and_reach_every_size(lite):
    scales = scales_of(lite, 0.25)
    drawn = [draw_scale(scales, 3, step).size for step in range(60)]
    assert drawn == [draw_scale(scales, 3, step).size for step in range(60)]
    assert set(drawn) == {scale.size for scale in scales}
    assert drawn != [draw_scale(scales, 4, step).size for step in range(60)]


def test_a_share_that_allows_no_other_size_and_one_beside_a_teacher_are_refused(lite, options):
    with pytest.raises(UsageError, match="no other input than 320x320"):
        scales_of(lite, 0.02)
    with pytest.raises(UsageError, match="leave out teacher or multi_scale"):
        replace(options, teacher="x.safetensors", multi_scale=0.25)


def test_a_training_at_several_sizes_keeps_the_model_as_its_sheet_says(options):
    result = train(replace(options, multi_scale=0.25, epochs=1, mosaic=0.5, mixup=0.3, close_mosaic=0, cache="ram"))
    spec = checkpoint.load(result.weights).spec
    assert (spec.input.height, spec.input.width) == (96, 96)
