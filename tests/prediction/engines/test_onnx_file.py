"""What an exported file says about itself is read without a runtime; what is no such file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibox.errors import ModelError
from multibox.prediction.engines import open_engine
from multibox.prediction.engines.onnx_file import parse_onnx, read_onnx


def test_the_spec_and_the_content_are_read(quarters: Path) -> None:
    file = read_onnx(quarters)
    assert file.data == quarters.read_bytes()
    assert file.spec.name == "ssdlite320_mobilenet_v3_large"
    assert file.spec.labels.names == ("red", "green", "blue")
    assert file.metrics == {}


def test_a_file_cut_off_anywhere_is_refused(quarters: Path) -> None:
    data = quarters.read_bytes()
    for length in [0, 1, 2, 10, *range(50, len(data), 97), len(data) - 1]:
        with pytest.raises(ModelError, match=r"cut\.onnx: "):
            parse_onnx(data[:length], Path("cut.onnx"))


@pytest.mark.parametrize("content", [b"hello world, I am a text", b"\xff" * 100, b"PK\x03\x04zip", b"\x00" * 64])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"other\.onnx: "):
        open_engine(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx: cannot be read \(No such file"):
        open_engine(tmp_path / "none.onnx")


def test_a_model_of_somebody_else_is_refused_with_the_way_out(quarters: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(quarters)
    path = tmp_path / "foreign.onnx"
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(ModelError, match="multibox did not export"):
        open_engine(path)
    onnx.helper.set_model_props(model, {"multibox": "[1]"})
    onnx.save(model, path)
    with pytest.raises(ModelError, match="metadata 'multibox'"):
        open_engine(path)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_whole_file_that_a_runtime_refuses_is_a_model_error(name: str, quarters: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip(name)
    model = onnx.load(quarters)
    model.graph.node[0].op_type = "NoSuchOperation"
    path = tmp_path / "odd.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"odd\.onnx: O.*cannot open it"):
        open_engine(path, name)  # type: ignore[arg-type]
