"""Every recipe trains 20 steps on rendered photos of its kind of data, at the rates of its own schedule."""

import csv
import json
from pathlib import Path

import cv2
import pytest

from multibox.data.open import open_dataset
from multibox.training.loop.schedule import make_schedule
from multibox.training.options_file import make_options
from multibox.training.recipe import list_recipes, load_recipe
from multibox.training.train import train
from multibox.zoo import load_spec

pytestmark = pytest.mark.slow

EPOCHS, STEPS, BATCH = 2, 10, 2
LIGHT = ("mobilenet", "mobilenext")


@pytest.fixture(scope="module")
def voc(render, tmp_path_factory) -> Path:
    return render(tmp_path_factory.mktemp("voc"), {"train": STEPS * BATCH})


@pytest.fixture(scope="module")
def coco(voc, tmp_path_factory) -> Path:
    """The same photos in COCO's layout."""
    folder, images, annotations = tmp_path_factory.mktemp("coco"), [], []
    (folder / "annotations").mkdir()
    (folder / "train2017").mkdir()
    dataset = open_dataset(voc, "train")
    for number, record in enumerate(dataset.records):
        cv2.imwrite(str(folder / "train2017" / record.path.name), cv2.imread(str(record.path)))
        images.append({"id": number, "file_name": record.path.name, "width": record.width, "height": record.height})
        for box, label in zip(record.boxes.tolist(), record.labels.tolist(), strict=True):
            x1, y1, x2, y2 = box
            extent = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": label + 1, **extent})
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(dataset.names)]
    table = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations/instances_train2017.json").write_text(json.dumps(table))
    return folder


def network_of(name: str, small_sheet: Path) -> dict[str, object]:
    """The recipe's own model at a small input where it is light or parts of it are named, else a small one."""
    model = load_recipe(name).models[0]
    if load_recipe(name).options["freeze"]:
        return {"model": model, "imgsz": 64}
    light = any(word in load_spec(model).backbone.name for word in LIGHT)
    return {"model": model, "imgsz": 96} if light else {"model": str(small_sheet)}


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_trains_at_the_rates_of_its_schedule(name, voc, coco, small_sheet, tmp_path):
    data = voc if load_recipe(name).data.startswith("VOC") else coco
    given = {"recipe": name, "data": str(data), "epochs": EPOCHS, "batch": BATCH, "pretrained_backbone": False}
    where = {"device": "cpu", "workers": 0, "val_split": "none", "project": str(tmp_path)}
    options = make_options({**given, **where, **network_of(name, small_sheet)})
    result = train(options)
    rows = list(csv.DictReader((result.folder / "results.csv").open()))
    factor = make_schedule(options, STEPS)
    assert options.lr0 is not None
    assert int(float(rows[-1]["step"])) == EPOCHS * STEPS
    for row in rows:
        assert 0 < float(row["train/loss"]) < 1e4
        assert float(row["lr/group0"]) == pytest.approx(options.lr0 * factor(int(float(row["step"]))), rel=1e-5)
