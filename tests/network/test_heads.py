"""Where the scores of a fresh head start."""

from dataclasses import replace

import pytest
import torch

from multibox.network.heads import expect_background, make_head
from multibox.spec import HeadSpec, ModelSpec, NormSpec
from multibox.zoo import load_spec

SPEC = load_spec("ssdlite320_mobilenet_v3_large").with_names(("cat", "dog", "kettle"))
SIDES = (4, 2)


@pytest.mark.parametrize("kind", ["conv", "separable", "shared"])
@pytest.mark.parametrize(
    "spec",
    [SPEC, replace(SPEC, activation="sigmoid"), replace(SPEC, activation="sigmoid", background=False)],
    ids=["softmax", "sigmoid", "no background"],
)
def test_each_prior_starts_as_background_with_the_probability_that_is_asked_for(kind: str, spec: ModelSpec) -> None:
    one = HeadSpec(kind=kind, tower_depth=1, tower_channels=8)  # type: ignore[arg-type]
    head = make_head(one, [8, 8], [3, 3], spec.columns, NormSpec())
    expect_background(head, spec, 0.03)
    logits, offsets = head([torch.zeros(1, 8, side, side) for side in SIDES])
    scores = logits.softmax(-1) if spec.activation == "softmax" else logits.sigmoid()
    objects = scores[..., int(spec.background) :]
    wanted = 0.03 / 3 if spec.activation == "softmax" else 0.03
    assert torch.allclose(objects, torch.full_like(objects, wanted), rtol=1e-4)
    if spec.background:
        assert torch.allclose(scores[..., 0], torch.tensor(0.97), rtol=1e-4)
    assert (offsets == 0).all()
