"""A field of a sheet that a part would ignore is refused in one sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.network.honoured import refuse_ignored_fields
from multibox.spec import ModelSpec
from multibox.zoo import list_models, load_spec


def _spec(name: str) -> ModelSpec:
    return load_spec(name).with_names(("cat",))


def test_every_sheet_states_only_what_its_parts_honour() -> None:
    for name in list_models():
        refuse_ignored_fields(load_spec(name))


@pytest.mark.parametrize(
    ("sheet", "part", "field", "value"),
    [
        ("ssd300_vgg16", "backbone", "width", 0.5),
        ("ssd300_vgg16", "backbone", "stride_first", True),
        ("ssd300_vgg16", "extras", "linear_out", True),
        ("ssd300_vgg16", "head", "plain_last", True),
        ("ssdlite320_mobilenet_v3_large", "backbone", "unstrided", ("layer3",)),
        ("ssd320_mobilenet_v2_fpnlite", "head", "kernel", 1),
    ],
)
def test_a_field_without_meaning_is_refused_by_name(sheet: str, part: str, field: str, value: object) -> None:
    spec = _spec(sheet)
    changed = replace(spec, **{part: replace(getattr(spec, part), **{field: value})})
    with pytest.raises(ModelError, match=rf"{part}\.{field} = .* has no meaning for {part} '.*'; leave it out"):
        build_model(changed)
