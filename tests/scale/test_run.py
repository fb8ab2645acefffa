"""`predict_many` whole: equal to plain prediction, and every picture exactly once whatever dies in between."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multibox.errors import DataError, MultiboxError, UsageError
from multibox.installed import sample_photo
from multibox.scale.cluster import Workers, joined
from multibox.scale.run import Options, predict_many

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
TWO = Workers(count=2)
SMALL = Options(shard_size=8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 JPEGs of a person, each cut elsewhere, in folders, and one that is broken."""
    folder = tmp_path_factory.mktemp("photos")
    photo = cv2.imread(str(sample_photo()))
    for number in range(48):
        file = folder / str(number % 3) / f"{number:03d}.jpg"
        file.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(file), cv2.resize(photo[number:, number // 2 :], (160, 120)))
    (folder / "1" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    return folder


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """A real Ray of two CPUs on this machine."""
    with joined(TWO):
        yield


@pytest.fixture(scope="module")
def plain(photos: Path) -> dict[str, tuple[object, ...]]:
    """What `Detector.stream` finds, by path."""
    from multibox import load

    return {
        str(one.path): (
            one.width,
            one.height,
            one.detections.xyxy.tolist(),
            one.detections.confidence.tolist(),
            one.detections.class_id.tolist(),
            one.detections.data["class_name"].tolist(),
            one.error,
        )
        for one in load(threads=1).stream(str(photos), 0.25, keep_image=False)
    }


def parts(output: Path) -> list[Path]:
    return sorted(output.glob("part-*.parquet"))


def rows(output: Path) -> list[tuple[str, tuple[object, ...]]]:
    columns = ("width", "height", "boxes", "scores", "labels", "names", "error")
    found = [row for part in parts(output) for row in pq.read_table(part).to_pylist()]
    return [(row["id"], tuple(row[name] for name in columns)) for row in found]


def check(output: Path, plain: dict[str, tuple[object, ...]]) -> None:
    """Every picture once, in sorted order, with exactly what plain prediction finds; nothing else lies there."""
    assert rows(output) == sorted(plain.items())
    left = {path.name for path in output.iterdir()} - {part.name for part in parts(output)}
    assert left == {"_job.json", "_manifest.parquet"}


def ray_workers(driver: int) -> set[int]:
    """The processes that predict, of the Ray that a process has started."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                is_worker = (folder / "cmdline").read_bytes().startswith(b"ray::MapWorker")
                if is_worker and parent(parent(int(folder.name))) == driver:
                    found.add(int(folder.name))
            except OSError:
                continue  # it has just ended
    return found


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def lives(process: int) -> bool:
    """Whether a process runs; one that ended and is only not yet waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait(until: object, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not until():  # type: ignore[operator]
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.02)


@pytest.mark.slow
@needs_ray
def test_two_workers_find_what_plain_prediction_finds(tmp_path: Path, photos: Path, plain, ray) -> None:
    told: list[tuple[int, int]] = []
    summary = predict_many([str(photos)], str(tmp_path), options=SMALL, workers=TWO, watch=lambda *n: told.append(n))
    check(tmp_path, plain)
    assert (summary.pictures, summary.errors, summary.shards, summary.pictures_now) == (49, 1, 7, 49)
    assert told[0] == (0, 49) and sum(done for done, _ in told) == 49
    assert sum(error is not None for *_, error in plain.values()) == 1 and summary.cpu_seconds > 0
    # The same command again has nothing to do, and leaves the files as they are.
    before = [part.stat().st_mtime_ns for part in parts(tmp_path)]
    again = predict_many([str(photos)], str(tmp_path), options=SMALL, workers=TWO)
    assert (again.pictures, again.errors, again.pictures_now) == (49, 1, 0)
    assert [part.stat().st_mtime_ns for part in parts(tmp_path)] == before


@pytest.mark.slow
@needs_ray
def test_a_killed_worker_loses_and_doubles_nothing(tmp_path: Path, photos: Path, plain, ray) -> None:
    done: list[object] = []
    thread = threading.Thread(
        target=lambda: done.append(predict_many([str(photos)], str(tmp_path), options=SMALL, workers=TWO))
    )
    thread.start()
    wait(lambda: parts(tmp_path) and list(tmp_path.glob("_begun*")))
    victim = min(ray_workers(os.getpid()))
    assert len(parts(tmp_path)) < 6  # in the middle
    os.kill(victim, signal.SIGKILL)
    thread.join(300)
    assert done and not lives(victim)
    check(tmp_path, plain)


@pytest.mark.slow
@needs_ray
def test_a_killed_driver_takes_its_ray_along_and_the_next_goes_on(tmp_path: Path, photos: Path, plain, ray) -> None:
    command = [sys.executable, "-m", "multibox", "predict-many", str(photos), "--output", str(tmp_path), "--quiet"]
    driver = subprocess.Popen([*command, "--workers", "2", "--shard-size", "8"])
    try:
        wait(lambda: len(parts(tmp_path)) >= 2)
        workers = ray_workers(driver.pid)
        assert workers and len(parts(tmp_path)) < 7
    finally:
        driver.kill()
        driver.wait()
    wait(lambda: not any(map(lives, workers)))
    before = {part: part.stat().st_mtime_ns for part in parts(tmp_path)}
    summary = predict_many([str(photos)], str(tmp_path), options=SMALL, workers=TWO)
    assert summary.pictures == 49 and 49 - 8 * len(before) <= summary.pictures_now <= 49 - 8 * len(before) + 7
    assert {part: part.stat().st_mtime_ns for part in before} == before
    check(tmp_path, plain)


@pytest.mark.slow
@needs_ray
def test_a_model_file_and_bytes_in_a_table_through_an_address(tmp_path: Path, photos: Path, plain, ray) -> None:
    from multibox.zoo import builtin_detector

    model = tmp_path / "mine.onnx"
    model.write_bytes(builtin_detector().read_bytes())
    files = sorted(photos.rglob("*.jpg"))[:23]
    table = pa.table({"id": [str(file) for file in files], "image": [{"bytes": file.read_bytes()} for file in files]})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=6)
    output = tmp_path / "out"
    arguments = ([f"file://{tmp_path}/in.parquet"], f"file://{output}")
    predict_many(*arguments, model=model, options=SMALL, workers=TWO)
    assert [len(pq.read_table(part)) for part in parts(output)] == [12, 11]
    assert rows(output) == sorted((str(file), plain[str(file)]) for file in files)
    # It is the same network, and so it may go on; any other may not.
    predict_many(*arguments, options=SMALL, workers=TWO)
    model.write_bytes(model.read_bytes() + b"\0\0")
    with pytest.raises((UsageError, MultiboxError)):
        predict_many(*arguments, model=model, options=SMALL, workers=TWO)


@pytest.mark.slow
@needs_ray
def test_an_output_that_cannot_be_written_ends_the_run_with_its_sentence(tmp_path: Path, photos: Path, ray) -> None:
    output = tmp_path / "out"
    (output / "part-000000.parquet").mkdir(parents=True)  # no file can have this name now
    with pytest.raises(MultiboxError, match=r"part-000000\.parquet: cannot be written"):
        predict_many([str(photos / "0")], str(output), options=SMALL, workers=TWO)


def test_a_source_without_pictures_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="in: no pictures and no Parquet tables"):
        predict_many([str(tmp_path / "in")], str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Options(conf=7.0), "conf is between 0 and 1"),
        (Options(classes=("persn",)), "did you mean 'person'"),
        (Options(batch=0), "batch and shard size are 1 or more"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_listed(tmp_path: Path, options: Options, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        predict_many([str(tmp_path / "none")], str(tmp_path / "out"), options=options)
    assert not (tmp_path / "out").exists()


def test_workers_that_make_no_sense_are_refused() -> None:
    for change in ({"count": 0}, {"threads": 0}, {"gpus": -1.0}):
        with pytest.raises(UsageError, match="--workers and --threads are 1 or more"):
            replace(Workers(), **change)
