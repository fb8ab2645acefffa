"""What holds for every engine of exported files, on a real file."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from multibox.errors import ModelError, UsageError
from multibox.prediction.engines import open_engine
from multibox.prediction.engines.base import Engine

ENGINES = ("openvino", "onnxruntime")


@pytest.fixture(params=ENGINES)
def engine(request, quarters: Path) -> Engine:
    pytest.importorskip(request.param)
    return open_engine(quarters, request.param, threads=1)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Noise in one colour per quarter, of random brightness."""
    rng = np.random.default_rng(seed)
    batch = np.zeros((count, 320, 320, 3), np.uint8)
    for image in batch:
        for y in (0, 160):
            for x in (0, 160):
                image[y : y + 160, x : x + 160, rng.integers(3)] = rng.integers(90, 256)
    return batch


def test_what_is_in_the_picture_is_found_brightest_first(engine: Engine) -> None:
    picture = np.zeros((1, 320, 320, 3), np.uint8)
    picture[0, :160, 160:, 2] = 200
    picture[0, 160:, :160, 0] = 100
    found = engine.run(picture)[0]
    assert [engine.spec.labels.names[label] for label in found.labels] == ["blue", "red"]
    np.testing.assert_allclose(found.scores, [200 / 255, 100 / 255], rtol=1e-3)  # a sum of 25,600 floats
    np.testing.assert_array_equal(found.boxes, [[0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1]])
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)


def test_an_empty_picture_has_no_detections_and_an_empty_batch_no_images(engine: Engine) -> None:
    found = engine.run(np.zeros((2, 320, 320, 3), np.uint8))
    assert [(one.boxes.shape, one.scores.shape, one.labels.shape) for one in found] == [((0, 4), (0,), (0,))] * 2
    assert engine.run(np.zeros((0, 320, 320, 3), np.uint8)) == []


def test_images_of_a_batch_do_not_see_each_other(engine: Engine) -> None:
    batch = pictures(5)
    together = engine.run(batch)
    for image, found in zip(batch, together, strict=True):
        alone = engine.run(image[None])[0]
        assert all(np.array_equal(a, b) for a, b in zip(found, alone, strict=True))
        assert 0 < len(found.scores) <= 4
        assert (np.diff(found.scores) <= 0).all()


def test_detections_stay_as_they_are_when_the_engine_runs_again(engine: Engine) -> None:
    first = engine.run(pictures(1))[0]
    kept = [part.copy() for part in first]
    engine.run(pictures(1, seed=1))
    assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True))


def test_pictures_that_are_a_view_of_others_are_taken(engine: Engine) -> None:
    batch = pictures(2)
    mirrored = engine.run(batch[:, :, ::-1])
    straight = engine.run(np.ascontiguousarray(batch[:, :, ::-1]))
    assert all(np.array_equal(a.boxes, b.boxes) for a, b in zip(mirrored, straight, strict=True))


def test_threads_can_share_an_engine(engine: Engine) -> None:
    batches = [pictures(1 + i % 3, seed=i) for i in range(24)]
    alone = [engine.run(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        shared = list(pool.map(engine.run, batches))
    for expected, found in zip(alone, shared, strict=True):
        assert all(np.array_equal(a.scores, b.scores) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("shape", [(320, 320, 3), (1, 300, 320, 3), (1, 3, 320, 320)])
def test_a_batch_of_another_shape_is_refused_with_both_shapes(engine: Engine, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"\[n, 320, 320, 3\]"):
        engine.run(np.zeros(shape, np.uint8))
    with pytest.raises(UsageError, match="float32"):
        engine.run(np.zeros((1, 320, 320, 3), np.float32))


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_a_file_for_a_fixed_number_of_images_takes_any(
    name: str, count: int, quarters: Path, quarters_of_three: Path
) -> None:
    pytest.importorskip(name)
    batch = pictures(count)
    fixed, free = (open_engine(path, name, threads=1).run(batch) for path in (quarters_of_three, quarters))
    assert len(fixed) == count
    assert all(np.array_equal(a.scores, b.scores) for a, b in zip(fixed, free, strict=True))


def test_auto_takes_openvino_where_it_is_installed(quarters: Path) -> None:
    pytest.importorskip("openvino")
    engine = open_engine(quarters)
    assert engine.name == "openvino"
    assert engine.spec.labels.names == ("red", "green", "blue")


def test_a_word_that_is_no_engine_is_refused_with_the_nearest(quarters: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'openvino'"):
        open_engine(quarters, "openvin")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="threads is 0"):
        open_engine(quarters, threads=0)


def test_files_and_engines_that_do_not_fit_are_refused_with_the_way_out(quarters: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"give the \.safetensors"):
        open_engine(quarters, "torch")
    with pytest.raises(ModelError, match="multibox export"):
        open_engine(tmp_path / "model.safetensors", "openvino")


def test_openvino_writes_nothing_into_the_home_folder_and_loads_no_telemetry(quarters: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    script = (
        "import sys\nfrom multibox.prediction.engines import open_engine\n"
        f"open_engine({str(quarters)!r}, 'openvino')\n"
        "loaded = {name.partition('.')[0] for name, module in sys.modules.items() if module}\n"
        "print(loaded & {'openvino_telemetry', 'torch', 'onnx'})"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_for_several_calls_finds_what_one_for_a_single_call_finds(name: str, quarters: Path) -> None:
    pytest.importorskip(name)
    one, two = (open_engine(quarters, name, threads=2, calls=calls) for calls in (1, 2))
    assert (one.calls, two.calls) == (1, 2)
    for found, same in zip(one.run(pictures(3)), two.run(pictures(3)), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(found, same, strict=True))


def test_numbers_below_one_are_refused(quarters: Path) -> None:
    for given in ({"threads": 0}, {"calls": 0}):
        with pytest.raises(UsageError, match=f"{next(iter(given))} is 0; it must be 1 or more"):
            open_engine(quarters, **given)


def test_signals_are_handled_after_engines_went_in_any_order_and_thread(quarters: Path) -> None:
    pytest.importorskip("openvino")
    script = f"""
import faulthandler, os, signal, threading
faulthandler.enable()
from multibox.prediction.engines import open_engine
one, two, three = (open_engine({str(quarters)!r}, "openvino", threads=1, calls=calls) for calls in (1, 2, 1))
held = [three]
del one, two, three
other = threading.Thread(target=held.clear)
other.start()
other.join()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


@pytest.mark.parametrize("name", ENGINES)
def test_the_first_inferences_of_a_process_may_come_from_several_threads_at_once(name: str, quarters: Path) -> None:
    pytest.importorskip(name)
    script = f"""
import sys, threading
import numpy as np
from multibox.prediction.engines import open_engine
engine = open_engine({str(quarters)!r}, {name!r}, threads=1, calls=4)
sys.setswitchinterval(1e-6)
together = threading.Barrier(4)
def first():
    together.wait()
    done.append(engine.run(np.zeros((1, 320, 320, 3), np.uint8)))
done = []
threads = [threading.Thread(target=first) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(done))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "4\n"), run.stderr
