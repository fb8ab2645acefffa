"""Evaluation in tiles: what is small in a large picture is found there, and only there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bright import NAMES, SpotEngine, picture
from multibox import Detector
from multibox.cli import main
from multibox.data.dataset import Dataset, Record
from multibox.evaluation.evaluate import evaluate
from multibox.evaluation.sharing import find_share, score_shares
from multibox.installed import sample_photo
from multibox.prediction.tiles import Tiles

SIZE = (1600, 600)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two large pictures with six red squares of 3 pixels in each, one of them on a seam of tiles."""
    random, records = np.random.default_rng(0), []
    for number in (1, 2):
        columns = random.permutation(15)[:5] * 100 + 20
        corners = [(199, 199), *zip(columns.tolist(), range(20, 520, 100), strict=True)]
        image = picture(*SIZE)
        for x, y in corners:
            image[y : y + 3, x : x + 3, 0] = 255
        path = tmp_path / f"{number}.png"
        Image.fromarray(image).save(path, compress_level=1)
        boxes = np.array([(x, y, x + 3, y + 3) for x, y in corners], np.float32)
        none = np.zeros(len(boxes), np.bool_)
        records.append(
            Record(
                image_id=number,
                path=path,
                width=SIZE[0],
                height=SIZE[1],
                boxes=boxes,
                labels=np.zeros(len(boxes), np.int64),
                crowd=none,
                difficult=none,
            )
        )
    return Dataset(NAMES, (1, 2, 3), tuple(records), tmp_path, "coco", "val")


def test_tiles_find_the_small_objects_of_large_pictures(dataset: Dataset) -> None:
    detector = Detector(SpotEngine())
    plain, tiled = (evaluate(detector, dataset, tiles=tiles) for tiles in (None, Tiles(200, 200)))
    assert 0 < plain.per_class[0].detections < 12  # some are seen, each as a box of five pixels
    assert plain.metrics["AP50"] < 0.5 < 0.99 < tiled.metrics["AP50"]
    assert tiled.per_class[0].detections == 12
    assert evaluate(detector, dataset, tiles=Tiles(*SIZE)).metrics == plain.metrics


@pytest.mark.slow
def test_shares_in_tiles_are_the_report_of_one_process(dataset: Dataset) -> None:
    detector, tiles = Detector(SpotEngine()), Tiles(800, 800)
    shares = [find_share(detector, dataset, rank=rank, world=2, batch=1, tiles=tiles) for rank in (0, 1)]
    assert score_shares(detector, dataset, shares).metrics == evaluate(detector, dataset, batch=1, tiles=tiles).metrics


@pytest.mark.slow
def test_the_installed_detector_finds_small_persons_in_tiles(tmp_path: Path, capsys) -> None:
    person = Image.open(str(sample_photo())).convert("RGB")
    random = np.random.default_rng(0)
    images, annotations = [], []
    (tmp_path / "val").mkdir()
    for number in range(3):
        image = Image.new("RGB", (1800, 1300), (96, 104, 96))
        for place in range(6):
            height = int(random.integers(36, 60))
            small = person.resize((height * person.width // person.height, height), Image.Resampling.LANCZOS)
            x = place % 3 * 600 + int(random.integers(20, 440))
            y = place // 3 * 650 + int(random.integers(20, 480))
            image.paste(small, (x, y))
            box = [x, y, small.width, small.height]  # she fills her picture
            area = box[2] * box[3]
            one = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "bbox": box, "area": area}
            annotations.append(one | {"iscrowd": 0})
        image.save(tmp_path / "val" / f"{number}.jpg", quality=92)
        images.append({"id": number, "file_name": f"{number}.jpg", "width": 1800, "height": 1300})
    (tmp_path / "annotations").mkdir()
    truth = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "annotations" / "instances_val.json").write_text(json.dumps(truth))
    AP50 = []
    for words in ([], ["--tiles", "640", "--no-tile-whole"], ["--tiles", "640x640", "--tile-overlap", "0.3"]):
        with pytest.raises(SystemExit) as end:
            main(["evaluate", "--data", str(tmp_path), "--json", "--quiet", *words])
        assert not end.value.code
        AP50.append(json.loads(capsys.readouterr().out)["metrics"]["AP50"])
    assert AP50[0] + 0.2 < min(AP50[1:]), AP50
