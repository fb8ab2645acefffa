"""Every network of the sheets becomes a file that agrees with torch on every runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibox.exporting.onnx import export_onnx
from sheets import lively, named, networks

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", networks())
def test_every_network_exports_and_agrees(name: str, tmp_path: Path) -> None:
    assert export_onnx(lively(named(name)), tmp_path / "model.onnx").agrees
