"""The public face: what `multibox` offers, and that it costs nothing to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import multibox

FACE = [
    "DataError",
    "Detector",
    "ExportError",
    "ModelError",
    "ModelSpec",
    "MultiboxError",
    "Prediction",
    "TrainOptions",
    "UsageError",
    "build_model",
    "convert",
    "create_model",
    "draw",
    "evaluate",
    "export_onnx",
    "list_models",
    "load",
    "load_spec",
    "open_dataset",
    "open_writer",
    "train",
]


def test_the_face_is_this_list() -> None:
    assert multibox.__all__ == FACE


@pytest.mark.parametrize("name", FACE)
def test_every_name_exists_and_has_a_docstring(name: str) -> None:
    if name in ("build_model", "convert", "create_model", "export_onnx", "train", "TrainOptions"):
        pytest.importorskip("torch")
    value = getattr(multibox, name)
    assert value.__doc__ and value.__name__ == name
    assert name in dir(multibox)


def test_the_types_that_editors_see_are_the_names_that_are_loaded() -> None:
    tree = ast.parse(Path(multibox.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {(node.module, alias.name) for node in block.body for alias in node.names}
    assert seen == {(home, name) for home, names in multibox._HOMES.items() for name in names}
    assert {name for _, name in seen} == set(FACE)


def test_importing_loads_nothing_heavy() -> None:
    check = "import sys, multibox; print([m for m in sys.modules if m.split('.')[0] in {'torch','numpy','cv2','PIL'}])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'SSD'"):
        multibox.SSD  # noqa: B018
    assert isinstance(multibox.__version__, str)
