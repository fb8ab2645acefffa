"""What is read and said before the first step."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from multibox.data.dataset import Dataset, Record
from multibox.data.open import open_dataset
from multibox.errors import DataError, ModelError
from multibox.network.build import build_model
from multibox.network.recalibrate import is_folded
from multibox.training.setup import coverage, prepare_training
from multibox.zoo import load_spec


def one_box(dataset: Dataset, side: float) -> Dataset:
    record: Record = dataset.records[0]
    box = np.array([[20, 20, 20 + side * record.width / 320, 20 + side * record.height / 320]], np.float32)
    flags = np.zeros(1, np.bool_)
    changed = replace(record, boxes=box, labels=np.zeros(1, np.int64), crowd=flags, difficult=flags, areas=None)
    return replace(dataset, records=(changed,))


def test_objects_of_the_priors_size_are_covered_and_tiny_ones_are_not(rectangles):
    network = build_model(load_spec("ssdlite320_mobilenet_v3_large").with_names(("red", "blue")))
    dataset = open_dataset(rectangles, "train")
    assert coverage(one_box(dataset, 64), network) == {"32-96 px": (1.0, 1)}
    assert coverage(one_box(dataset, 20), network) == {"16-32 px": (0.0, 1)}


def test_a_dataset_without_objects_has_no_coverage_and_is_legal(rectangles):
    dataset = open_dataset(rectangles, "train")
    record = dataset.records[0]
    empty = replace(record, boxes=record.boxes[:0], labels=record.labels[:0], crowd=record.crowd[:0],
                    difficult=record.difficult[:0], areas=None)  # fmt: skip
    network = build_model(load_spec("ssdlite320_mobilenet_v3_large").with_names(("red",)))
    assert coverage(replace(dataset, records=(empty,)), network) == {}


def test_names_come_from_the_data_and_classes_are_counted(options, caplog):
    with caplog.at_level(logging.INFO, logger="multibox"):
        setup = prepare_training(options)
    assert set(setup.network.spec.labels.names) == {"red", "blue"}
    assert "train: 16 images (0 without objects)" in caplog.text
    assert "objects with a prior of IoU >= 0.5" in caplog.text


def test_a_warning_says_where_few_priors_fit(shared_data, options, caplog):
    with caplog.at_level(logging.INFO, logger="multibox"):
        prepare_training(replace(options, data=str(shared_data / "bccd"), model="ssdlite320_mobilenet_v3_large"))
    assert "few priors fit objects of under 16 px and 16-32 px" in caplog.text
    assert "BloodImage_00338.xml" in caplog.text


def test_a_split_and_a_model_that_are_not_there_are_named(options):
    with pytest.raises(DataError, match="test"):
        prepare_training(replace(options, split="test"))
    with pytest.raises(ModelError, match=r"no model 'ssd300_vgg15'; did you mean 'ssd300_vgg16'"):
        prepare_training(replace(options, model="ssd300_vgg15"))


def test_folded_norms_of_a_tflite_file_get_the_statistics_of_the_data(rectangles, shared_weights, options, caplog):
    file = shared_weights / "tf2_ssd_mobilenet_v2_fpnlite_320_coco.tflite"
    with caplog.at_level(logging.INFO, logger="multibox"):
        setup = prepare_training(replace(options, model="ssd320_mobilenet_v2_fpnlite", weights=str(file)))
    assert "their statistics were measured on 16 photos" in caplog.text
    assert not is_folded(setup.network)
