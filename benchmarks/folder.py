"""A folder of JPEG files to detections, images per second: `Detector.stream` against a loop over torchvision's SSDLite.

Usage: python benchmarks/folder.py [--images 500] [--model NAME] [--threads 2] [--rounds 3] [--files FOLDER] [--json .]
The files are pieces of a photo in eight sizes from 320x240 to 1280x720 (`ready.photo_folder`). Peer: read_file,
decode_image, model([image]) for every file; and the same in lists of 8, whichever is faster counts. Ours:
`stream(files)` on every engine in every precision, with all threads on one picture and with a picture per thread
(`load(calls=)`, as `multibox predict` does with many files). Both sides hold the same weights and take turns; shown is
the median of the rounds with the slowest and the fastest. Exit code 1 where a goal is missed.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from ready import SSDLITE, VGG, arguments, decode, kept, open_network, photo_bytes, photo_folder, set_threads
from torch import nn

from multibox.prediction.detector import Detector

GOALS = {SSDLITE: (5.0, 8.0), VGG: (1.5, 6.0)}
"""Times as fast as torchvision: in fp32, and in the best precision."""
THEIR_BATCHES = (1, 8)


def their_loop(model: nn.Module, paths: list[Path], batch: int) -> int:
    """Detections of all files, in lists of `batch`."""
    found = 0
    with torch.inference_mode():
        for start in range(0, len(paths), batch):
            for one in model([decode(path.read_bytes()) for path in paths[start : start + batch]]):
                found += len(one["scores"])
    return found


def our_stream(detector: Detector, paths: list[Path]) -> int:
    """Detections of all files."""
    return sum(len(one.objects.scores) for one in detector.stream(paths, conf=0.0, keep_image=False))


def rates(sides: dict[str, Callable[[list[Path]], int]], paths: list[Path], rounds: int) -> dict[str, list[float]]:
    """Images per second of every side in every round, after 16 images that do not count."""
    for call in sides.values():
        call(paths[:16])
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            start = time.perf_counter()
            call(paths)
            found[name].append(len(paths) / (time.perf_counter() - start))
            print(f"  {name:<28} {found[name][-1]:7.1f} img/s", flush=True)
    return found


def main() -> None:
    """Prints rates, ratios and goals."""
    parser = arguments(__doc__)
    parser.add_argument("--model", choices=(SSDLITE, VGG), default=SSDLITE)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    set_threads(args.threads)
    with kept(args.files) as folder:
        paths = photo_folder(folder / "photos", args.images)
        network = open_network(args.model, folder, photo_bytes())
        model = network.torchvision()
        sides: dict[str, Callable[[list[Path]], int]] = {}
        for batch in THEIR_BATCHES:
            sides[f"torchvision fp32 x{batch}"] = lambda files, batch=batch: their_loop(model, files, batch)  # type: ignore[misc]
        for calls in sorted({1, args.threads}):
            for name, detector in network.detectors(args.threads, calls).items():
                sides[f"{name} calls {calls}"] = partial(our_stream, detector)
        megabytes = sum(path.stat().st_size for path in paths) / 1e6
        print(f"{args.model}: {len(paths)} files, {megabytes:.0f} MB, {args.threads} threads")
        found = rates(sides, paths, args.rounds)
    raise SystemExit(judge(args.model, found, args.json))


def judge(name: str, found: dict[str, list[float]], path: Path | None) -> int:
    """Prints the table; 1 where a goal is missed."""
    middle = {side: statistics.median(values) for side, values in found.items()}
    peer = max(rate for side, rate in middle.items() if side.startswith("torchvision"))
    for side, values in found.items():
        spread = f"({min(values):.1f}-{max(values):.1f})"
        print(f"{side:<30} {middle[side]:7.1f} img/s {spread:<16} {middle[side] / peer:5.2f}x")
    ours = {side: rate / peer for side, rate in middle.items() if not side.startswith("torchvision")}
    plain = max(ratio for side, ratio in ours.items() if " fp32 " in side)
    best = max(ours.values())
    print(f"{name}: fp32 {plain:.2f}x (goal {GOALS[name][0]:g}), best {best:.2f}x (goal {GOALS[name][1]:g})")
    if path is not None:
        path.write_text(json.dumps({"model": name, "images_per_second": found, "fp32": plain, "best": best}) + "\n")
    return int(plain < GOALS[name][0] or best < GOALS[name][1])


if __name__ == "__main__":
    main()
