"""Benchmarks: real runs in processes of their own, a sentence for everything that cannot be measured."""

import json
import os
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from multibox.cli.sample import sample_photo
from multibox.errors import DataError, ModelError, MultiboxError, UsageError
from multibox.evaluation.benchmark import BenchmarkOptions, Subject, benchmark, find_pictures, run
from multibox.evaluation.probe import Job, peak_megabytes
from multibox.evaluation.speed import Ratio, SpeedReport, SpeedRow
from multibox.evaluation.stopwatch import Spread
from multibox.zoo import builtin_detector

BOX = Subject(label="default", file=builtin_detector())
ONE = BenchmarkOptions(engines=("onnxruntime",), batches=(1,), threads=1, rounds=1)


def job(**changes: object) -> Job:
    fields = Job(
        label="default", model=str(builtin_detector()), engine="onnxruntime", precision="fp32", batch=1, threads=1,
        pictures=(str(sample_photo()),), seconds=1, rounds=1,
    )  # fmt: skip
    return replace(fields, **changes)


def row(**changes: object) -> SpeedRow:
    spread = Spread(p10=1, p50=2, p90=3, p99=4, calls=5)
    made = SpeedRow(
        model="m", engine="openvino", precision="fp32", batch=1, threads=2, latency=spread, rate=spread,
        steps={"decode": spread, "engine": spread}, start_seconds=1.5, peak_megabytes=None,
    )  # fmt: skip
    return replace(made, **changes)


@pytest.mark.slow
def test_a_configuration_is_measured_in_a_process_of_its_own(tmp_path):
    pytest.importorskip("onnx")
    told: list[tuple[int, int, str]] = []
    report = benchmark([BOX], sample_photo(), ONE, tmp_path, lambda *words: told.append(words))
    (found,) = report.rows
    assert (found.engine, found.batch, found.threads, found.latency.calls) == ("onnxruntime", 1, 1, 1)
    assert set(found.steps) == {"decode", "resize", "network", "post"}
    assert 0 < found.steps["decode"].p50 < found.steps["network"].p50 < 1000 * found.start_seconds
    assert 50 < (found.peak_megabytes or 100) < 800
    assert report.problems == () and report.peer is None
    assert told[0][:2] == (1, 1) and told[0][2].startswith("default onnxruntime fp32 batch 1: ")


@pytest.mark.slow
def test_batches_of_a_folder_are_measured_on_every_engine(tmp_path):
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (60 + number, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.jpg")
    options = replace(ONE, engines=None, batches=(2, 5))
    report = benchmark([BOX], tmp_path, options, tmp_path)
    assert {found.batch for found in report.rows} == {2, 5}
    assert len(report.rows) == 2 * len({found.engine for found in report.rows}) and not report.problems
    assert report.pictures.startswith("3 pictures of ")


def test_a_row_is_the_same_after_json():
    spread = Spread(p10=1, p50=2, p90=3, p99=4, calls=5)
    made = row(against=Ratio(times=4, low=3, high=5, peer=spread))
    for one in (made, row()):
        assert SpeedRow.from_dict(json.loads(json.dumps(asdict(one)))) == one
    report = SpeedReport(rows=(made,), threads=2, cores=2, pictures="1", warm_up="5", versions={"numpy": "2"})
    assert json.loads(report.to_json())["rows"][0]["against"]["peer"]["p50"] == 2


def test_what_fails_in_the_process_is_one_sentence():
    with pytest.raises(ModelError, match=r"gone\.onnx: cannot be read"):
        run(job(model="gone.onnx"))


@pytest.mark.slow
def test_a_process_that_breaks_is_named_with_its_last_line():
    with pytest.raises(MultiboxError, match=r"its process failed \(TypeError"):
        run(job(rounds="many"))


@pytest.mark.slow
def test_what_fails_does_not_end_the_others(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(builtin_detector().read_bytes()[:-1000])
    report = benchmark([Subject(label="broken", file=broken), BOX], sample_photo(), ONE, tmp_path)
    assert [found.model for found in report.rows] == ["default"]
    assert len(report.problems) == 1 and report.problems[0].startswith("broken onnxruntime fp32 batch 1: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batches": (0,)}, "batch is 0"),
        ({"batches": ()}, "batch is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"rounds": 0}, "rounds is 0"),
        ({"seconds": 0.0}, "seconds is 0"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        BenchmarkOptions(**changes)


def test_an_engine_that_does_not_run_the_file_is_refused(tmp_path):
    with pytest.raises(
        ModelError, match=r"no engine of torch runs default.onnx .openvino, onnxruntime would.; nothing is left"
    ):
        benchmark([BOX], sample_photo(), replace(ONE, engines=("torch",)), tmp_path)


def test_a_source_without_pictures_is_named(tmp_path):
    with pytest.raises(DataError, match="no images or videos in this folder"):
        find_pictures(tmp_path)
    (tmp_path / "film.mp4").write_bytes(b"")
    with pytest.raises(DataError, match="a benchmark takes pictures, not videos"):
        find_pictures(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"a\.jpg"):
        find_pictures(tmp_path)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak of one process is read from /proc")  # noqa: PTH110
def test_the_peak_of_memory_rises_with_what_is_held():
    before = peak_megabytes()
    held = np.ones(30_000_000)  # 240 MB
    after = peak_megabytes()
    assert before is not None and after is not None and len(held)
    assert after >= 240
