"""Pictures per second and core of `multibox predict-many`, and what a million pictures cost by it.

Usage: python benchmarks/scale.py [--pictures 2000] [--workers 2] [--model FILE] [--json FILE]
JPEGs of 640x480 are made out of the photograph that matplotlib installs. The same folder is read by `Detector.stream`
with one thread in this process, then by `predict-many` on a Ray started here. The rate of a core is pictures divided by
the CPU seconds that the work took (in `predict-many`: of all workers, from the manifest's row to the file of results),
which other load on the machine disturbs less than the clock; what the clock says is shown as well.

USD per million = 1,000,000 / (pictures per second and core x 3,600) x (USD per core-hour)
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2

from multibox import load
from multibox.installed import sample_photo
from multibox.scale.cluster import Workers
from multibox.scale.run import Options, predict_many

PRICES = (0.01, 0.03, 0.05)
"""USD per core-hour: spot to on-demand prices; the reader's own may be put in."""


def make_photos(folder: Path, count: int) -> None:
    """JPEGs of quality 90, each cut a little differently."""
    path = sample_photo()
    if path is None:
        raise SystemExit("this needs matplotlib, for its photograph; run: pip install matplotlib")
    photo = cv2.imread(str(path))
    assert photo is not None
    for number in range(count):
        cut = cv2.resize(photo[number % 37 :, number % 41 :], (640, 480))
        cv2.imwrite(str(folder / f"{number:06d}.jpg"), cut, [cv2.IMWRITE_JPEG_QUALITY, 90])


def plain(folder: Path, model: str) -> dict[str, float]:
    """Rates of `Detector.stream` with one thread, its detector opened before."""
    cv2.setNumThreads(1)
    detector = load(model, threads=1)
    start, cpu = time.perf_counter(), time.process_time()
    count = sum(1 for _ in detector.stream(str(folder), workers=1, keep_image=False))
    return {
        "per_second": count / (time.perf_counter() - start),
        "per_cpu_second": count / (time.process_time() - cpu),
    }


def on_ray(folder: Path, model: str, workers: int, shard_size: int) -> dict[str, float]:
    """Rates of `predict_many`; the clock runs from the first shard done, as long runs have no start to speak of."""
    ticks: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as output:
        summary = predict_many(
            [str(folder)],
            output,
            model=model,
            options=Options(shard_size=shard_size),
            workers=Workers(count=workers),
            watch=lambda done, of: ticks.append((time.perf_counter(), done)),
        )
    done = sum(pictures for _, pictures in ticks[2:])
    return {
        "per_second": done / (ticks[-1][0] - ticks[1][0]),
        "per_cpu_second": summary.pictures_now / summary.cpu_seconds,
        "start_seconds": ticks[1][0] - ticks[0][0],
    }


def main() -> None:
    """Prints the rates and the table of costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", default="default")
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_photos(Path(folder), words.pictures)
        rates = {
            "Detector.stream": plain(Path(folder), words.model),
            "predict-many": on_ray(Path(folder), words.model, words.workers, max(1, words.pictures // 20)),
        }
    print(
        f"{words.pictures} JPEGs of 640x480, model {words.model}, {words.workers} workers of 1 thread on "
        f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}:"
    )
    for name, rate in rates.items():
        print(
            f"  {name:<16} {rate['per_second']:7.1f} pictures/s by the clock, "
            f"{rate['per_cpu_second']:7.1f} per second and core"
        )
    each = rates["predict-many"]["per_cpu_second"]
    for price in PRICES:
        print(f"  {price:.2f} USD per core-hour: {1e6 / (each * 3600) * price:.2f} USD per million pictures")
    if words.json:
        words.json.write_text(json.dumps(rates))


if __name__ == "__main__":
    main()
