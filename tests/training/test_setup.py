"""What is read and said before the first step."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from multibox.data.dataset import Dataset, Record
from multibox.data.open import open_dataset
from multibox.errors import DataError, ModelError
from multibox.network.build import build_model
from multibox.network.recalibrate import is_folded
from multibox.training.coverage import fit_of
from multibox.training.setup import prepare_training
from multibox.weights import checkpoint
from multibox.zoo import load_spec, models


def one_box(dataset: Dataset, side: float) -> Dataset:
    record: Record = dataset.records[0]
    box = np.array([[20, 20, 20 + side * record.width / 320, 20 + side * record.height / 320]], np.float32)
    flags = np.zeros(1, np.bool_)
    changed = replace(record, boxes=box, labels=np.zeros(1, np.int64), crowd=flags, difficult=flags, areas=None)
    return replace(dataset, records=(changed,))


def test_objects_of_the_priors_size_are_covered_and_tiny_ones_are_not(rectangles):
    network = build_model(load_spec("ssdlite320_mobilenet_v3_large").with_names(("red", "blue")))
    dataset = open_dataset(rectangles, "train")
    assert fit_of(one_box(dataset, 64), network).by_size() == {"32-96 px": (1.0, 1)}
    assert fit_of(one_box(dataset, 20), network).by_size() == {"16-32 px": (0.0, 1)}


def test_a_dataset_without_objects_has_no_coverage_and_is_legal(rectangles):
    dataset = open_dataset(rectangles, "train")
    record = dataset.records[0]
    empty = replace(record, boxes=record.boxes[:0], labels=record.labels[:0], crowd=record.crowd[:0],
                    difficult=record.difficult[:0], areas=None)  # fmt: skip
    network = build_model(load_spec("ssdlite320_mobilenet_v3_large").with_names(("red",)))
    assert fit_of(replace(dataset, records=(empty,)), network).by_size() == {}


def test_names_come_from_the_data_and_classes_are_counted(options, caplog):
    with caplog.at_level(logging.INFO, logger="multibox"):
        setup = prepare_training(options)
    assert set(setup.network.spec.labels.names) == {"red", "blue"}
    assert "train: 16 images (0 without objects)" in caplog.text
    assert "objects with a prior of IoU >= 0.5" in caplog.text


def test_scores_start_low_where_a_loss_of_all_priors_is_chosen_and_else_as_the_sheet_says(options):
    def background_bias(class_loss: str) -> float:
        setup = prepare_training(replace(options, class_loss=class_loss))
        return setup.network.head.classes[0][1].bias.view(-1, 3)[:, 0].mean().item()

    assert background_bias("sheet") == background_bias("mined") == 0
    assert all(background_bias(name) > 4 for name in ("focal", "quality_focal", "varifocal"))


def test_a_warning_says_where_few_priors_fit(shared_data, options, caplog):
    with caplog.at_level(logging.INFO, logger="multibox"):
        prepare_training(replace(options, data=str(shared_data / "bccd"), model="ssdlite320_mobilenet_v3_large"))
    assert "few priors fit objects of under 16 px and 16-32 px" in caplog.text
    command = f"`multibox priors --data {shared_data / 'bccd'} --model ssdlite320_mobilenet_v3_large -o fitted.toml`"
    assert command in caplog.text and "those under 16 px also need a larger --imgsz" in caplog.text
    assert "BloodImage_00338.xml" in caplog.text


def test_a_split_and_a_model_that_are_not_there_are_named(options):
    with pytest.raises(DataError, match="test"):
        prepare_training(replace(options, split="test"))
    with pytest.raises(ModelError, match=r"no model 'ssd300_vgg15'; did you mean 'ssd300_vgg16'"):
        prepare_training(replace(options, model="ssd300_vgg15"))


@pytest.mark.slow
def test_folded_norms_of_a_tflite_file_get_the_statistics_of_the_data(rectangles, shared_weights, options, caplog):
    file = shared_weights / "tf2_ssd_mobilenet_v2_fpnlite_320_coco.tflite"
    with caplog.at_level(logging.INFO, logger="multibox"):
        setup = prepare_training(replace(options, model="ssd320_mobilenet_v2_fpnlite", weights=str(file)))
    assert "their statistics were measured on 16 photos" in caplog.text
    assert not is_folded(setup.network)


def weights_of(sheet, tmp_path, names=("blue", "red", "green"), **changes):
    """A checkpoint of ours with random numbers."""
    spec = load_spec(str(sheet)).with_names(names)
    spec = replace(spec, input=replace(spec.input, **changes))
    path = tmp_path / "start.safetensors"
    checkpoint.save(path, build_model(spec).state_dict(), spec)
    return str(path)


def test_what_is_taken_over_is_said_part_by_part(options, small_sheet, tmp_path, caplog):
    start = weights_of(small_sheet, tmp_path)
    with caplog.at_level(logging.INFO, logger="multibox"):
        prepare_training(replace(options, weights=start))
    assert "0 as initialised, 0 unused; 2 of 2 classes known" in caplog.text
    assert "taken over: backbone 308 of 308, extras 72 of 72, head.boxes 48 of 48, head.classes 48 of 48" in caplog.text
    assert "class rows taken over: " in caplog.text and "class rows as initialised" not in caplog.text
    assert "pixels of other scale" not in caplog.text


@pytest.mark.parametrize("changes", [{"color": "bgr"}, {"mean": (0.0, 0.0, 0.0)}, {"std": (1.0, 1.0, 1.0)}])
def test_weights_that_learnt_on_other_pixels_are_named(changes, options, small_sheet, tmp_path, caplog):
    start = weights_of(small_sheet, tmp_path, names=("cat",), **changes)
    prepare_training(replace(options, weights=start))
    assert "start.safetensors learnt on pixels of other scale or colour order" in caplog.text


def test_weights_of_which_nothing_fits_stop_the_run(options, tmp_path):
    start = tmp_path / "start.safetensors"
    checkpoint.save(start, {"elsewhere.weight": torch.zeros(3)}, load_spec("ssd300_vgg16").with_names(("cat",)))
    with pytest.raises(ModelError, match=r"start\.safetensors: none of its 1 tensors fits the model"):
        prepare_training(replace(options, weights=str(start)))


def test_published_weights_are_a_start_by_their_sheets_name(options, small_sheet, tmp_path, monkeypatch, caplog):
    start = weights_of(small_sheet, tmp_path)
    name = "ssdlite320_mobilenet_v3_large.torchvision_coco"
    monkeypatch.setattr(models, "fetch", lambda url, sha256: start)
    monkeypatch.setattr(models, "as_sheet", lambda loaded, spec: loaded)
    with caplog.at_level(logging.INFO, logger="multibox"):
        prepare_training(replace(options, weights=name))
    assert f"weights from {name}: 476 tensors taken over" in caplog.text
