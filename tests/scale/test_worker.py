"""A worker, called as Ray calls it: shards of the manifest in, files of results out."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import multibox
from bright import NAMES, BrightEngine, save
from multibox import Detector
from multibox.scale import worker
from multibox.scale.files import locate
from multibox.scale.job import Job
from multibox.scale.listing import cut, list_pictures
from multibox.scale.manifest import write_manifest
from multibox.scale.worker import DEADLY, Outcome, Setup, ShardWorker

BELOW = (100, 300, 300, 400, 220)
JOB = Job(
    sources=("in",),
    model="0",
    engine="onnxruntime",
    precision=None,
    conf=0.25,
    max_det=None,
    classes=None,
    shard_size=4,
    names=NAMES,
    version=multibox.__version__,
)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten pictures, one of them broken, and the small detector of `bright` in the place of the built-in one."""
    monkeypatch.setattr(worker, "open_detector", lambda _: Detector(BrightEngine()))
    for number in range(9):
        area = (64 * number, 48, 64 * number + 64, 240, 255)
        save(tmp_path / f"in/{number}.png", **({"red": area} if number % 2 else {"green": area, "blue": BELOW}))
    (tmp_path / "in/4b.png").write_bytes(b"broken")
    return tmp_path / "in"


def begin(tmp_path: Path, source: str, size: int = 4) -> Setup:
    output = tmp_path / "out"
    write_manifest(locate(str(output)), cut(list_pictures([source], tmp_path), size), tmp_path, lambda _: None)
    return Setup(output=str(output), job=JOB, files={}, batch=2, threads=1)


def run(setup: Setup, *shards: int) -> list[Outcome]:
    columns = ShardWorker(setup)({"shard": np.array(shards)})
    return [Outcome(*values) for values in zip(*columns.values(), strict=True)]


def rows(setup: Setup) -> list[dict[str, object]]:
    parts = sorted(Path(setup.output).glob("part-*.parquet"))
    found = [row for part in parts for row in pq.read_table(part).to_pylist()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


def plain(folder: Path) -> list[dict[str, object]]:
    """The same rows by `Detector.stream`."""
    found = []
    for one in Detector(BrightEngine()).stream(str(folder), 0.25):
        detections = one.detections
        found.append(
            {
                "id": str(one.path),
                "path": str(one.path),
                "width": one.width,
                "height": one.height,
                "boxes": detections.xyxy.tolist(),
                "scores": detections.confidence.tolist(),
                "labels": detections.class_id.tolist(),
                "names": detections.data["class_name"].tolist(),
                "error": one.error,
            }
        )
    return found


def test_rows_are_those_of_stream_and_a_broken_picture_is_a_row_with_an_error(tmp_path: Path, photos: Path) -> None:
    setup = begin(tmp_path, str(photos))
    outcomes = run(setup, 0, 1, 2)
    assert [(o.shard, o.pictures, o.errors, o.objects, o.problem) for o in outcomes] == [
        (0, 4, 0, 6, ""),
        (1, 4, 1, 5, ""),
        (2, 2, 0, 3, ""),
    ]
    assert rows(setup) == plain(photos)
    (broken,) = [row for row in rows(setup) if row["error"]]
    assert "4b.png is not an image" in str(broken["error"]) and broken["boxes"] == []
    assert sorted(path.name[:5] for path in Path(setup.output).iterdir()) == ["_mani", "part-", "part-", "part-"]


def test_the_careful_way_gives_the_same_rows(tmp_path: Path, photos: Path) -> None:
    setup = begin(tmp_path, str(photos), size=10)
    Path(setup.output, "_begun-000000.json").write_text('{"begun": 2, "at": null, "deaths": {}}')
    (outcome,) = run(setup, 0)
    assert outcome.pictures == 10 and rows(setup) == plain(photos)
    assert not list(Path(setup.output).glob("_begun*"))


@pytest.mark.slow
def test_addresses_and_bytes_give_the_same_boxes(tmp_path: Path, photos: Path) -> None:
    wanted = [(row["boxes"], row["scores"], row["labels"], row["error"] is None) for row in plain(photos)]
    data = [path.read_bytes() for path in sorted(photos.iterdir())]
    pq.write_table(pa.table({"id": list("abcdefghij"), "bytes": data}), tmp_path / "t.parquet", row_group_size=3)
    for source, name in ((f"file://{photos}", f"file://{photos}/4b.png"), (f"{tmp_path}/t.parquet", "f")):
        setup = begin(tmp_path, source)
        run(setup, *range(len(list(cut(list_pictures([source], tmp_path), 4)))))
        found = rows(setup)
        assert [(row["boxes"], row["scores"], row["labels"], row["error"] is None) for row in found] == wanted
        assert [str(row["error"]).startswith(f"{name} is not an image") for row in found].index(True) == 5
        for part in Path(setup.output).iterdir():
            part.unlink()


def test_rows_without_a_picture_are_errors(tmp_path: Path, photos: Path) -> None:
    pq.write_table(pa.table({"path": [f"{photos}/0.png", None, f"{photos}/none.png"]}), tmp_path / "t.parquet")
    setup = begin(tmp_path, f"{tmp_path}/t.parquet")
    run(setup, 0)
    errors = [row["error"] for row in rows(setup)]
    assert errors[0] is None and "no path in this row" in str(errors[1]) and "no such image file" in str(errors[2])
    pq.write_table(pa.table({"id": ["x", "y"], "bytes": [None, b""]}), tmp_path / "t.parquet")
    setup = begin(tmp_path, f"{tmp_path}/t.parquet")
    run(setup, 0)
    assert [str(row["error"])[:20] for row in rows(setup)] == ["x: no picture in thi", "y is not an image, o"]


def test_a_table_that_changed_since_it_was_listed_is_a_sentence_and_no_rows(tmp_path: Path, photos: Path) -> None:
    pq.write_table(pa.table({"bytes": [b"x"] * 3}), tmp_path / "t.parquet")
    setup = begin(tmp_path, f"{tmp_path}/t.parquet")
    pq.write_table(pa.table({"bytes": [b"x"] * 2}), tmp_path / "t.parquet")
    (outcome,) = run(setup, 0)
    assert outcome.kind == "DataError" and "was changed since its rows were listed" in outcome.problem
    assert rows(setup) == []


def test_another_version_on_a_worker_is_a_sentence(tmp_path: Path, photos: Path) -> None:
    setup = begin(tmp_path, str(photos))
    (outcome,) = run(replace(setup, job=replace(JOB, version="0.0")), 0)
    assert outcome.kind == "ModelError" and "install the same on all" in outcome.problem


class _Deadly(BrightEngine):
    """Dies, with its process, at a picture that is blue in its last column; a stand-in for a decoder's crash."""

    def run(self, batch: np.ndarray) -> list:
        if (batch[:, :, -1, 2] > 200).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(batch)


@pytest.mark.slow
def test_a_picture_that_kills_its_workers_becomes_an_error_and_all_others_are_found(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(photos / "3b.png", blue=(600, 0, 640, 480, 255))
    setup = begin(tmp_path, str(photos), size=20)
    monkeypatch.setattr(worker, "open_detector", lambda _: Detector(_Deadly()))
    codes = []
    while not codes or codes[-1] != 0:
        process = multiprocessing.get_context("fork").Process(target=run, args=(setup, 0))
        process.start()
        process.join(60)
        codes.append(process.exitcode)
        assert len(codes) < 9
    assert codes == [-signal.SIGKILL] * 4 + [0]
    found = rows(setup)
    assert [row["error"] for row in found if str(row["id"]).endswith("3b.png")] == [DEADLY]
    assert [row for row in found if not str(row["id"]).endswith("3b.png")] == [
        row for row in plain(photos) if not str(row["id"]).endswith("3b.png")
    ]
