"""NVIDIA's hub helpers: preprocessing by its laws, decoding by its rule, weights from wherever they lie."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from multibox.boxes.coding import decode
from multibox.boxes.overlap import pairwise_iou
from multibox.errors import DataError, ModelError, UsageError
from multibox.network.build import build_model
from multibox.prediction.nvidia_hub import NvidiaSSD, nvidia_ssd, nvidia_ssd_processing_utils
from multibox.spec import CoderSpec
from multibox.weights import checkpoint
from multibox.zoo import load_spec
from nvidia_files import their_state

UTILS = nvidia_ssd_processing_utils()
SHEET = "ssd300_resnet18.nvidia_coco"
MAPS, STEPS = (38, 19, 10, 5, 3, 1), (8, 16, 32, 64, 100, 300)
PHOTO = Path(__file__).parents[1] / "parity" / "images" / "0.png"
OF_SCIKIT_IMAGE = {
    0: -0.063358, 29447: 0.175858, 62388: -0.24326, 99293: 0.0875,
    133431: -0.097304, 158893: 0.63223, 192222: 0.05527, 229662: -0.151838,
}  # fmt: skip
"""Flat index in the batch of one, and what NVIDIA's own preprocessing of the photo has there."""
SIZES, RATIOS = (21, 45, 99, 153, 207, 261, 315), ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of ours on the smallest trunk."""
    model = build_model(load_spec(SHEET)).eval()
    path = tmp_path_factory.mktemp("hub") / "small.safetensors"
    checkpoint.save(path, model.state_dict(), model.spec)
    return path


def _their_priors() -> torch.Tensor:
    """cx, cy, w, h by the published rule: level, shape, y, x."""
    rows = []
    for level, (cells, step) in enumerate(zip(MAPS, STEPS, strict=True)):
        small, large = SIZES[level] / 300, SIZES[level + 1] / 300
        shapes = [(small, small), (math.sqrt(small * large),) * 2]
        for ratio in RATIOS[level]:
            wide, flat = small * math.sqrt(ratio), small / math.sqrt(ratio)
            shapes += [(wide, flat), (flat, wide)]
        for w, h in shapes:
            rows += [((x + 0.5) * step / 300, (y + 0.5) * step / 300, w, h) for y in range(cells) for x in range(cells)]
    return torch.tensor(rows).clamp(0, 1)


@pytest.mark.parametrize(("width", "height"), [(500, 375), (375, 500), (400, 400), (320, 299), (120, 90), (90, 3)])
def test_an_input_is_the_middle_of_the_photo_from_minus_1_to_1(width: int, height: int, tmp_path: Path) -> None:
    Image.new("RGB", (width, height), (0, 64, 255)).save(tmp_path / "plain.png")
    value = UTILS.prepare_input(tmp_path / "plain.png")
    assert value.shape == (300, 300, 3) and value.dtype == np.float32
    wanted = (np.array([0, 64, 255]) / 255 * 256 - 128) / 128
    assert np.allclose(value, wanted, atol=1e-6)


def test_a_photo_comes_out_as_it_does_with_scikit_image() -> None:
    values = UTILS.prepare_tensor([UTILS.prepare_input(PHOTO)]).cpu().flatten()
    assert values[list(OF_SCIKIT_IMAGE)].tolist() == pytest.approx(list(OF_SCIKIT_IMAGE.values()), abs=2e-6)


def test_a_ramp_stays_a_ramp_and_is_cut_on_both_sides(tmp_path: Path) -> None:
    ramp = np.repeat(np.repeat(np.arange(0, 256, dtype=np.uint8), 4)[None, :, None], 512, axis=0).repeat(3, axis=2)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    row = UTILS.prepare_input(tmp_path / "ramp.png")[150, :, 0]
    assert np.allclose(row, -row[::-1], atol=0.01) and (np.diff(row) > 0).all()
    assert row[0] == pytest.approx(-0.5, abs=0.01)  # 600 pixels long, of which the middle 300


def test_a_grey_picture_is_not_turned(tmp_path: Path) -> None:
    grey = np.zeros((300, 300), np.uint8)
    grey[:100] = 255
    Image.fromarray(grey).save(tmp_path / "grey.png")
    value = UTILS.prepare_input(tmp_path / "grey.png")
    assert value[50, 250, 0] == 1.0 and value[250, 50, 0] == -1.0


def test_enlarging_mirrors_the_edge_as_scikit_image_does() -> None:
    row = np.array([0.0, 1.0], np.float32)[None, :, None].repeat(2, axis=0).repeat(3, axis=2)
    assert np.allclose(UTILS.rescale(row, 4, 4)[0, :, 0], [0.25, 0.25, 0.75, 0.75])


def test_a_batch_is_channels_first_on_the_best_device() -> None:
    inputs = [np.full((300, 300, 3), i, np.float32) for i in (1, 2)]
    inputs[0][0, 1, 2] = 5
    batch = UTILS.prepare_tensor(inputs)
    assert batch.shape == (2, 3, 300, 300) and batch.dtype == torch.float32 and batch[0, 2, 0, 1] == 5
    assert batch.is_cuda == torch.cuda.is_available()
    assert UTILS.prepare_tensor(inputs, fp16=True).dtype == torch.float16


def test_a_picture_that_is_absent_is_named() -> None:
    with pytest.raises(DataError, match=r"no such image file: nowhere\.jpg"):
        UTILS.prepare_input("nowhere.jpg")


def test_a_picture_on_the_web_is_fetched_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIBOX_CACHE", str(tmp_path))
    monkeypatch.setenv("MULTIBOX_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"http://example\.org/a\.jpg is not in the cache"):
        UTILS.prepare_input("http://example.org/a.jpg")


def test_decoding_is_their_rule_written_plainly() -> None:
    generator = torch.Generator().manual_seed(3)
    offsets = torch.randn(2, 4, 8732, generator=generator)
    logits = torch.randn(2, 81, 8732, generator=generator) * 2
    logits[:, 0] += 12
    logits[1, 0] += 100
    given = offsets.clone(), logits.clone()
    first, empty = UTILS.decode_results((offsets, logits))
    assert torch.equal(offsets, given[0]) and torch.equal(logits, given[1])
    assert [len(part) for part in empty] == [0, 0, 0]
    boxes = decode(offsets[0].T, _their_priors(), CoderSpec())
    scores = logits[0].softmax(0)
    assert 100 < int((scores[1:] > 0.05).sum()) < 1000
    kept: list[tuple[float, int, int]] = []
    for column in range(1, 81):
        count = int((scores[column] > 0.05).sum())
        mine: list[int] = []
        for row in scores[column].argsort(descending=True)[: min(200, count)].tolist():
            if not mine or pairwise_iou(boxes[[row]], boxes[mine]).max() < 0.5:
                mine.append(row)
        kept += [(scores[column, row].item(), column, row) for row in mine]
    best = sorted(kept)[-20:]
    assert first[1].tolist() == [column for _, column, _ in best]
    assert first[2].tolist() == pytest.approx([score for score, _, _ in best])
    assert np.allclose(first[0], boxes[[row for _, _, row in best]].numpy(), atol=1e-6)


def test_the_best_are_those_above_the_threshold() -> None:
    found = [np.arange(12.0).reshape(3, 4), np.array([1, 2, 3]), np.array([0.3, 0.35, 0.9])]
    boxes, classes, scores = UTILS.pick_best(found)
    assert classes.tolist() == [2, 3] and scores.tolist() == [0.35, 0.9] and boxes[0].tolist() == [4, 5, 6, 7]
    assert [len(part) for part in UTILS.pick_best(found, 0.95)] == [0, 0, 0]


def test_class_1_is_the_first_name_of_coco() -> None:
    names = UTILS.get_coco_object_dictionary()
    assert (names[0], names[11], names[79], len(names)) == ("person", "stop sign", "toothbrush", 80)


def test_the_network_answers_in_their_order(small: Path) -> None:
    model = nvidia_ssd(checkpoint=small).eval()
    with torch.no_grad():
        ploc, plabel = model(torch.zeros(2, 3, 300, 300))
        ours = model.ssd(torch.zeros(2, 3, 300, 300))
    assert ploc.shape == (2, 4, 8732) and plabel.shape == (2, 81, 8732)
    assert ploc.is_contiguous() and plabel.is_contiguous()
    assert torch.allclose(model.ssd.priors[model.order], _their_priors(), atol=1e-7)
    assert torch.equal(plabel[1].T, ours.logits[1, model.order]) and torch.equal(
        ploc[0].T, ours.offsets[0, model.order]
    )


@pytest.mark.parametrize(
    "prefix", ["module.", *(pytest.param(prefix, marks=pytest.mark.slow) for prefix in ("", "module.1."))]
)
def test_the_network_takes_state_dicts_of_theirs_and_its_own(small: Path, prefix: str) -> None:
    model, given = nvidia_ssd(checkpoint=small), build_model(load_spec(SHEET))
    model.load_state_dict(their_state(given, prefix))
    wanted = given.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in model.ssd.state_dict().items())
    again = nvidia_ssd(checkpoint=small)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.ssd.head.classes[0].weight, wanted["head.classes.0.weight"])  # type: ignore[index,union-attr]


@pytest.mark.parametrize(("math", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_in_half_precision_the_norms_stay_full(small: Path, math: str, dtype: torch.dtype) -> None:
    model = nvidia_ssd(checkpoint=small, model_math=math).eval()  # type: ignore[arg-type]
    types = {parameter.dtype for parameter in model.parameters()}
    assert types == {torch.float32, dtype}
    with torch.no_grad():
        answers = model(torch.zeros(1, 3, 300, 300, dtype=dtype))
    assert {answer.dtype for answer in answers} == {dtype}
    assert len(UTILS.decode_results(answers)) == 1


def test_another_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="model_math is one of fp32, fp16, bf16, not 'int8'"):
        nvidia_ssd(model_math="int8")  # type: ignore[arg-type]


def test_a_network_with_other_priors_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'ssdlite320_mobilenet_v3_large' has other priors than NVIDIA's SSD300"):
        NvidiaSSD(build_model(load_spec("ssdlite320_mobilenet_v3_large").with_names(("cat",))))


def test_without_pretraining_nothing_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIBOX_OFFLINE", "1")
    model = nvidia_ssd(pretrained=False)
    assert model.training and model.ssd.spec.name == "ssd300_resnet50.nvidia_coco"


@pytest.mark.parametrize("folder", ["cache", "torch/hub/checkpoints", "torch/checkpoints"])
def test_the_published_file_is_taken_from_where_it_lies(
    folder: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MULTIBOX_OFFLINE", "1")
    monkeypatch.setenv("MULTIBOX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(
        ModelError, match=r"nvidia_ssdpyt_amp_200703\.pt is not in the cache and MULTIBOX_OFFLINE is set"
    ):
        nvidia_ssd()
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "nvidia_ssdpyt_amp_200703.pt").write_bytes(small.read_bytes())
    assert nvidia_ssd().ssd.spec.name == SHEET
