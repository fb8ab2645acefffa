"""A spec as a sheet for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibox.sheet import read_sheet, to_toml, write_sheet
from multibox.zoo import list_models, load_spec


@pytest.mark.parametrize("name", list_models())
def test_every_sheet_that_is_written_is_read_back_as_it_was(name: str, tmp_path: Path) -> None:
    spec = load_spec(name)
    write_sheet(spec, tmp_path / "mine.toml")
    assert read_sheet(tmp_path / "mine.toml") == spec


def test_a_sheet_says_only_what_is_not_so_by_default() -> None:
    text = to_toml(load_spec("ssdlite320_mobilenet_v3_large"))
    assert text.startswith('architecture = "ssdlite320_mobilenet_v3_large"\ntag = ""\n')
    assert '\n[backbone]\nname = "torchvision/mobilenet_v3_large"\ntaps = ["13.expand", "16"]\n' in text
    assert "\nblocks = [\n  { mid = 256, out = 512 },\n" in text
    assert "\n  { min_size = 64.0, max_size = 112.0, ratios = [2.0, 3.0] },\n" in text
    assert "l2norm" not in text and "null" not in text
