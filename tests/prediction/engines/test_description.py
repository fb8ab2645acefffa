"""What a file says about itself is read back as it was; files made before there was a choice are NMS in float32."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from multibox.errors import ModelError
from multibox.prediction.engines import open_engine
from multibox.prediction.engines.description import Description, read_description
from multibox.prediction.engines.ir_file import read_ir
from multibox.prediction.engines.litert_file import append_description, is_ours, read_litert
from multibox.prediction.engines.program_file import read_program
from multibox.sheet import to_json
from multibox.zoo import load_spec

HERE = Path("model.file")


@pytest.fixture
def described() -> Description:
    spec = load_spec("ssdlite320_mobilenet_v3_large").with_names(('<cat> & "dog"', "Füße", "犬"))
    return Description(
        spec=spec, metrics={"AP": 0.25}, head="decoded", precision="fp16", level_sizes=(2400, 600, 150, 54, 24, 6)
    )


def test_a_description_is_read_back_as_it_was(described: Description) -> None:
    assert read_description(described.to_text(), HERE) == described
    assert "\n" not in described.to_text()


def test_old_files_are_detections_in_float32(described: Description) -> None:
    old = {"version": 1, "spec": json.loads(to_json(described.spec)), "metrics": {}}
    read = read_description(json.dumps(old), HERE)
    assert (read.head, read.precision, read.level_sizes) == ("nms", "fp32", ())


def test_other_texts_and_unknown_heads_are_refused(described: Description) -> None:
    for text in ("", "[1]", "{}", '{"spec": 3}', "null"):
        with pytest.raises(ModelError, match=r"model\.file: "):
            read_description(text, HERE)
    newer = json.loads(described.to_text()) | {"head": "masks"}
    with pytest.raises(ModelError, match=r"head 'masks'.*update multibox"):
        read_description(json.dumps(newer), HERE)


def write_program(path: Path, described: Description, config: str = "{}", inputs: bytes = b"") -> Path:
    """A zip laid out as torch lays out its programs, without a program."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/extra/multibox", described.to_text())
        archive.writestr("archive/data/weights/model_weights_config.json", config)
        archive.writestr("archive/data/sample_inputs/model.pt", inputs)
    return path


def test_a_torch_program_is_described_without_torch(described: Description, tmp_path: Path) -> None:
    config = json.dumps({"config": {"w": {"path_name": "weight_0", "use_pickle": False}}})
    assert read_program(write_program(tmp_path / "model.pt2", described, config)).description == described


def test_a_torch_program_with_pickles_is_refused(described: Description, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    for entry in ({"path_name": "weight_0", "use_pickle": True}, {"path_name": "opaque_0", "use_pickle": False}):
        write_program(path, described, json.dumps({"config": {"w": entry}}))
        with pytest.raises(ModelError, match="pickled"):
            read_program(path)
    with pytest.raises(ModelError, match="pickled"):
        read_program(write_program(path, described, inputs=b"PK"))


def write_ir(path: Path, described: Description) -> Path:
    from xml.sax.saxutils import quoteattr

    text = quoteattr(described.to_text())
    path.write_text(
        f'<?xml version="1.0"?>\n<net name="x">\n<rt_info>\n<multibox value={text} />\n</rt_info>\n</net>\n'
    )
    path.with_suffix(".bin").write_bytes(b"weights")
    return path


def test_openvinos_files_are_described_without_openvino(described: Description, tmp_path: Path) -> None:
    file = read_ir(write_ir(tmp_path / "model.xml", described))
    assert (file.description, file.weights) == (described, b"weights")


@pytest.mark.parametrize("ending", [".xml", ".pt2", ".tflite"])
def test_a_file_cut_off_anywhere_is_refused(ending: str, described: Description, tmp_path: Path) -> None:
    path = tmp_path / f"model{ending}"
    if ending == ".xml":
        write_ir(path, described)
    elif ending == ".pt2":
        write_program(path, described)
    else:
        path.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(100))
        append_description(path, described)
    read = {".xml": read_ir, ".pt2": read_program, ".tflite": read_litert}[ending]
    assert read(path).spec == described.spec
    data = path.read_bytes()
    for length in [0, 1, 40, *range(100, len(data) - 8, 401), len(data) - 8]:
        path.write_bytes(data[:length])
        with pytest.raises(ModelError, match=rf"model\{ending}: "):
            read(path)


def test_a_tflite_file_of_others_is_not_ours(described: Description, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(100))
    assert not is_ours(path)
    assert not is_ours(tmp_path / "none.tflite")
    append_description(path, described)
    assert is_ours(path)
    assert read_litert(path).description == described


def test_an_entity_in_an_xml_is_not_expanded(described: Description, tmp_path: Path) -> None:
    path = write_ir(tmp_path / "model.xml", described)
    path.write_text('<net><rt_info><!DOCTYPE a [<!ENTITY b "c">]><multibox value="&b;" /></rt_info></net>')
    with pytest.raises(ModelError, match=r"model\.xml: not a whole OpenVINO model"):
        read_ir(path)


@pytest.mark.parametrize("ending", [".pte", ".plan"])
def test_a_runtime_that_is_absent_is_one_sentence(ending: str, tmp_path: Path) -> None:
    name = {".pte": "executorch", ".plan": "tensorrt"}[ending]
    try:
        __import__(name)
    except ImportError:
        with pytest.raises(ModelError, match=f"engine '{name}' is not installed here; run: pip install {name}"):
            open_engine(tmp_path / f"model{ending}")
    else:
        pytest.skip(f"{name} is installed")


def test_an_engine_that_does_not_run_such_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"engine 'onnxruntime' does not run it; take auto, or another engine \(openvino\)"
    ):
        open_engine(tmp_path / "model.xml", "onnxruntime")
