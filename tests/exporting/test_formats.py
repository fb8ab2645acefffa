"""Networks of four kinds go out as every kind of file and come back as detectors that find what torch finds."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from multibox.errors import ExportError, ModelError, UsageError
from multibox.exporting.check import sample_images
from multibox.exporting.export import export_model
from multibox.exporting.order import Format, make_order
from multibox.exporting.parity import Parity, compare
from multibox.exporting.resize import at_size
from multibox.installed import is_installed
from multibox.network.build import build_model
from multibox.network.model import SSD
from multibox.prediction.detector import Detector
from multibox.prediction.engines import open_engine
from multibox.prediction.engines.torch_engine import TorchEngine
from sheets import lively, named, pixels

SHEETS = {
    "ssd300_vgg16": None,  # its last map is 1x1 at 300: no smaller input goes through
    "ssdlite320_mobilenet_v3_large": (160, 192),
    "ssd640_resnet50_fpn.mindcv_coco": (256, 256),
    "ssdlite320_mobilenext": (192, 192),
}
LITE = "ssdlite320_mobilenet_v3_large"
PACKAGES = {"executorch": "executorch", "litert": "litert_torch", "tensorrt": "tensorrt"}


@pytest.fixture(scope="module")
def models() -> dict[str, SSD]:
    """Networks with random weights, made when they are asked for."""
    return {}


def model_of(name: str, models: dict[str, SSD]) -> SSD:
    """One for three classes, at a small input where it has one."""
    if name not in models:
        spec, size = named(name).with_names(("cat", "dog", "cup")), SHEETS[name]
        models[name] = lively(spec) if size is None else lively(at_size(build_model(spec), size).spec)
    return models[name]


@lru_cache
def untrained() -> SSD:
    """What is never run."""
    return build_model(named(LITE).with_names(("cat",)))


def export(model: SSD, path: Path, format: Format, **words) -> tuple[Path, Parity]:
    """Exports with two photos for the check; returns the file to open."""
    order = make_order(format, **words)
    done = export_model(model, path.with_suffix(order.kind.ending), order, images=sample_images()[:2])
    assert isinstance(done.agreement, Parity)
    assert all(file.is_file() for file in done.files)
    return done.files[0], done.agreement


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "openvino", "torch"])
@pytest.mark.parametrize("name", SHEETS)
def test_a_sheet_goes_out_and_comes_back(name: str, format: Format, models: dict[str, SSD], tmp_path: Path) -> None:
    model = model_of(name, models)
    file, parity = export(model, tmp_path / "model", format)
    engine = open_engine(file, threads=1)
    found = compare(TorchEngine(model), engine, pixels(model.spec)[:3])
    assert parity.agrees
    assert found.agrees, found
    assert found.detections > 10
    assert engine.spec == model.spec


@pytest.mark.slow
@pytest.mark.parametrize("format", ["executorch", "litert", "tensorrt"])
@pytest.mark.parametrize("name", SHEETS)
def test_a_network_goes_to_boards_and_phones(name: str, format: Format, models: dict[str, SSD], tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[format])
    if format == "tensorrt":
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs a GPU")
    model = model_of(name, models)
    file, parity = export(model, tmp_path / "model", format)
    engine = open_engine(file)
    found = compare(TorchEngine(model), engine, pixels(model.spec)[:3])
    assert parity.agrees and found.agrees, found
    assert found.detections > 10
    assert len(engine.run(pixels(model.spec)[:3])) == 3  # for one image, run three times


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "head", "precision"),
    [
        ("onnx", "decoded", "fp32"),
        ("onnx", "nms", "fp16"),
        ("onnx", "raw", "fp16"),
        ("openvino", "decoded", "fp16"),
        ("openvino", "nms", "bf16"),
        ("torch", "decoded", "bf16"),
        ("torch", "raw", "fp16"),
    ],
)
def test_heads_and_precisions_agree_with_torch_in_the_same(
    format: Format, head, precision, models: dict[str, SSD], tmp_path: Path
) -> None:
    model = model_of(LITE, models)
    file, parity = export(model, tmp_path / "model", format, head=head, precision=precision)
    assert parity.agrees
    half = make_order(format, head=head, precision=precision).computed != "fp32"
    assert parity.scores > 1e-5 if half else parity.scores <= 1e-4  # half precision really is computed in
    assert ("in torch itself" in str(parity)) == half
    if head == "raw":
        with pytest.raises(ModelError, match="export with --head nms"):
            open_engine(file).run(pixels(model.spec)[:1])
    else:
        assert len(Detector(open_engine(file)).predict(sample_images()[0], conf=None)) > 0


@pytest.mark.slow
def test_half_precision_makes_half_the_file(models: dict[str, SSD], tmp_path: Path) -> None:
    model = model_of(LITE, models)
    sizes = {}
    for format in ("onnx", "openvino"):
        for precision in ("fp32", "fp16"):
            order = make_order(format, precision=precision)
            path = tmp_path / f"{precision}{order.kind.ending}"
            sizes[format, precision] = export_model(model, path, order, images=sample_images()[:1]).bytes
    assert sizes["onnx", "fp16"] < 0.7 * sizes["onnx", "fp32"]
    assert sizes["openvino", "fp16"] < 0.7 * sizes["openvino", "fp32"]


@pytest.mark.slow
def test_an_exported_program_runs_batches_of_any_size(models: dict[str, SSD], tmp_path: Path) -> None:
    model = model_of(LITE, models)
    file, _ = export(model, tmp_path / "model", "torch")
    engine, images = open_engine(file), pixels(model.spec)
    assert engine.run(images[:0]) == []
    together = engine.run(images[:3])
    for image, found in zip(images[:3], together, strict=True):
        np.testing.assert_allclose(engine.run(image[None])[0].scores, found.scores, atol=1e-5)


@pytest.mark.slow
def test_another_size_finds_what_torch_finds_at_that_size(models: dict[str, SSD], tmp_path: Path) -> None:
    model = model_of(LITE, models)
    file, _ = export(model, tmp_path / "model", "openvino", size=(224, 128))
    engine = open_engine(file)
    assert (engine.spec.input.height, engine.spec.input.width) == (224, 128)
    wide = at_size(model, (224, 128))
    assert engine.spec == wide.spec
    assert compare(TorchEngine(wide), engine, pixels(wide.spec)[:2]).agrees


@pytest.mark.slow
def test_another_size_keeps_the_weights_and_the_pixels_of_the_priors() -> None:
    model = untrained()
    wide = at_size(model, (160, 320))
    assert at_size(model, (320, 320)) is model
    assert wide.spec.tag == "320x160"
    assert all((wide.state_dict()[key] == value).all() for key, value in model.state_dict().items())
    ours, theirs = (
        (made.priors[:, 2:].double().numpy() * size).round(decimals=3)
        for made, size in ((model, (320, 320)), (wide, (320, 160)))
    )
    pixels = {(width, min(height, 160.0)) for width, height in ours.tolist()}  # the sheet cuts priors to the input
    assert {(width, height) for width, height in theirs.tolist()} == pixels


@pytest.mark.slow
def test_an_input_that_is_too_small_is_refused() -> None:
    with pytest.raises(ModelError, match="40x40"):
        at_size(build_model(named("ssd300_vgg16").with_names(("cat",))), (40, 40))


@pytest.mark.parametrize("format", [name for name in get_args(Format) if name in PACKAGES])
def test_a_missing_tool_is_one_sentence_and_leaves_nothing(format: Format, tmp_path: Path) -> None:
    if is_installed(PACKAGES[format]):
        pytest.skip(f"{format} is installed")
    order = make_order(format)
    with pytest.raises(ExportError, match=rf"'{PACKAGES[format]}', which is absent; run: pip install") as failure:
        export_model(untrained(), tmp_path / f"model{order.kind.ending}", order)
    assert "\n" not in str(failure.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.onnx: openvino files end in \.xml"):
        export_model(untrained(), tmp_path / "model.onnx", make_order("openvino"))


@pytest.mark.slow
def test_a_pair_that_does_not_agree_leaves_the_old_pair(models: dict[str, SSD], tmp_path: Path) -> None:
    model = model_of(LITE, models)
    paths = [tmp_path / "model.bin", tmp_path / "model.xml"]
    for path in paths:
        path.write_text("before")
    order = make_order("openvino")
    broken = at_size(model, (96, 96))
    next(broken.head.parameters()).data.fill_(float("nan"))
    with pytest.raises(ExportError, match=r"does not agree with torch .*nan"):
        export_model(broken, paths[1], order, images=sample_images()[:1])
    assert sorted(tmp_path.iterdir()) == paths
    assert {path.read_text() for path in paths} == {"before"}


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_for_openvinos_pair_too(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    script = f"""
import resource
from pathlib import Path
import numpy as np
from multibox.errors import ExportError
from multibox.exporting.openvino_ir import save_ir
from multibox.exporting.place import beside
from multibox.prediction.engines.openvino_core import import_openvino
openvino = import_openvino()
from openvino import opset8
x = opset8.parameter([1, 1000], np.float32)
model = openvino.Model([opset8.add(x, opset8.constant(np.arange(1000, dtype=np.float32)[None]))], [x], "model")
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # as a disk with room for 2000 bytes
try:
    with beside(Path({str(tmp_path / "model.xml")!r})) as place:
        save_ir(model, place)
except ExportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("model.xml: OpenVINO cannot write it")
    assert done.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
