"""What an output folder was begun for: kept, and nothing else let in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from multibox.errors import MultiboxError, UsageError
from multibox.scale.files import locate
from multibox.scale.job import Job, check_same, done_shards, part_name, read_job, write_job

JOB = Job(
    sources=("/in", "s3://b/c"),
    model="ab12",
    engine="onnxruntime",
    precision=None,
    conf=0.25,
    max_det=None,
    classes=("person", "cup"),
    shard_size=1000,
    names=("person", "cup"),
    version="1",
)


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    place = locate(str(tmp_path))
    assert read_job(place) is None
    for job in (JOB, replace(JOB, classes=None, conf=None, max_det=3)):
        write_job(place, job)
        assert read_job(place) == job


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": "cd"}, "a model with the SHA-256 ab12, not cd"),
        ({"conf": 0.5}, "--conf 0.25, not 0.5"),
        ({"classes": None}, "--classes person, cup, not none"),
        ({"sources": ("/other",)}, "the sources /in, s3://b/c, not /other"),
        ({"engine": "openvino"}, "the engine onnxruntime, not openvino"),
        ({"precision": "bf16"}, "--precision none, not bf16"),
        ({"shard_size": 10}, "--shard-size 1000, not 10"),
    ],
)
def test_another_job_is_refused_by_what_differs(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    check_same(locate(str(tmp_path)), JOB, replace(JOB, version="2"))
    with pytest.raises(UsageError, match=f"was begun with {sentence}; choose another --output"):
        check_same(locate(str(tmp_path)), JOB, replace(JOB, **change))


def test_somebody_elses_tables_and_a_damaged_job_are_refused(tmp_path: Path) -> None:
    (tmp_path / "part-0.parquet").write_bytes(b"")
    with pytest.raises(UsageError, match=r"holds 'part-0\.parquet', which is not of such a run"):
        read_job(locate(str(tmp_path)))
    (tmp_path / "_job.json").write_text("{")
    with pytest.raises(MultiboxError, match="is not the description of a run"):
        read_job(locate(str(tmp_path)))


def test_shards_are_done_when_their_file_is_there(tmp_path: Path) -> None:
    for name in (part_name(0), part_name(1234567), f".{part_name(2)}.77.part", "part-x.parquet", "_begun-000003.json"):
        (tmp_path / name).write_bytes(b"")
    assert done_shards(locate(str(tmp_path))) == {0, 1234567}
