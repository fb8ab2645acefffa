"""From the bytes of a 640x480 JPEG to detections, batch 1: every engine and precision against torchvision's two SSDs.

Usage: python benchmarks/predict.py [--models NAME ...] [--threads 2] [--seconds 5] [--files FOLDER] [--json FILE]
All sides hold the same weights (see `ready.py`). Each of ours takes turns with torchvision's model in a process of
their own, every second round backwards, so that no third runtime's threads disturb them. Peer: decode_image, then
model([image]), in float32. Shown are medians with percentiles 10 to 90, and the ratio of a round, median and
percentiles 10 to 90. The network alone is timed too (the same file, cut before its post-processing), in turns with the
whole file. Exit code 1 where a goal is missed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
import torchvision
from ready import SSDLITE, VGG, Network, Side, arguments, decode, kept, open_network, photo_bytes, set_threads

from multibox.evaluation.bare_file import write_bare
from multibox.evaluation.stopwatch import Call, Effort, Spread, take_turns
from multibox.images.prepare import prepare
from multibox.images.read import read_image
from multibox.prediction.detector import Detector
from multibox.prediction.engines import open_engine

GOALS = {SSDLITE: (5.0, 7.0), VGG: (1.5, 6.0)}
"""Times as fast as torchvision: in fp32, and in the best precision."""
POST_SHARE = {SSDLITE: 0.20, VGG: 0.10}
"""Of the network's time, at most, on the fastest engine."""
WHOLE_CALL = 1.25
"""Times the network's, at most."""


@dataclass(frozen=True)
class Row:
    """One side: milliseconds of a call, the peer's beside it, times as fast as that, and the network's own share."""

    side: str
    call: Spread
    peer: Spread
    ratio: Spread
    network: Spread | None = None
    post: Spread | None = None

    def __str__(self) -> str:
        """One line of the table."""
        text = f"{self.side:<18} {self.call.p50:7.2f} ms ({self.call.p10:.2f}-{self.call.p90:.2f})"
        text += f"  torchvision {self.peer.p50:6.2f} ms"
        text += f"  {self.ratio.p50:5.2f}x ({self.ratio.p10:.2f}-{self.ratio.p90:.2f})"
        if self.network is not None and self.post is not None:
            share, whole = self.post.p50 / self.network.p50, self.call.p50 / self.network.p50
            text += f"  network {self.network.p50:.2f} ms, post {self.post.p50:.2f} ms ({share:.0%}), call {whole:.2f}x"
        return text


@dataclass(frozen=True)
class Setting:
    """What all comparisons share."""

    jpeg: bytes
    threads: int
    effort: Effort
    folder: Path


def peer(network: Network, jpeg: bytes) -> Call:
    """torchvision from bytes to detections."""
    model = network.torchvision()

    def call() -> object:
        with torch.inference_mode():
            return model([decode(jpeg)])

    return call


def measure(network: Network, setting: Setting) -> list[Row]:
    """The row of every engine and precision, printed too, each from a process of its own."""
    print(network.name)
    rows = []
    for name in network.sides():
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            rows.append(process.submit(compare, network, name, setting).result())
        print(f"  {rows[-1]}", flush=True)
    return rows


def compare(network: Network, name: str, setting: Setting) -> Row:
    """One side in turns with the peer, then with its own network."""
    set_threads(setting.threads)
    side = network.sides()[name]
    detector = side.open(setting.threads)
    sides = {"theirs": peer(network, setting.jpeg), "ours": partial(detector.predict, setting.jpeg, conf=0.0)}
    times = take_turns(sides, setting.effort)
    ratios = [theirs / ours for theirs, ours in zip(times["theirs"], times["ours"], strict=True)]
    can_be_cut = side.path.suffix == ".onnx"
    split = network_and_post(network.name, detector, side, setting) if can_be_cut else ()
    return Row(name, Spread.of(times["ours"]), Spread.of(times["theirs"]), Spread.of(ratios), *split)


def network_and_post(name: str, detector: Detector, side: Side, setting: Setting) -> tuple[Spread, Spread]:
    """Milliseconds of the network alone, and by how much the whole file takes longer."""
    bare = setting.folder / f"{name}-{side.word}-bare.onnx"
    write_bare(side.path, bare)
    alone = open_engine(bare, side.engine, threads=setting.threads, precision=side.precision)
    batch = prepare(read_image(setting.jpeg), detector.spec.input).pixels[None]
    sides = {"whole": lambda: detector.engine.run(batch), "bare": lambda: alone.infer(batch)}  # type: ignore[attr-defined]
    times = take_turns(sides, setting.effort)
    post = [whole - bare for whole, bare in zip(times["whole"], times["bare"], strict=True)]
    return Spread.of(times["bare"]), Spread.of(post)


def judge(name: str, rows: list[Row]) -> list[str]:
    """A sentence for every goal, `met` or `missed`."""
    best_first = sorted(rows, key=lambda row: row.ratio.p50, reverse=True)
    best, plain = best_first[0], next(row for row in best_first if row.side.endswith("fp32"))
    assert plain.network is not None and plain.post is not None
    share, whole = plain.post.p50 / plain.network.p50, plain.call.p50 / plain.network.p50
    results: Mapping[str, tuple[float, float, bool]] = {
        f"fp32, {plain.side}: times as fast": (plain.ratio.p50, GOALS[name][0], plain.ratio.p50 >= GOALS[name][0]),
        f"best, {best.side}: times as fast": (best.ratio.p50, GOALS[name][1], best.ratio.p50 >= GOALS[name][1]),
        f"post-processing / network, {plain.side}": (share, POST_SHARE[name], share <= POST_SHARE[name]),
        f"call / network, {plain.side}": (whole, WHOLE_CALL, whole <= WHOLE_CALL),
    }
    return [
        f"{what} {value:.2f} (goal {goal:g}): {'met' if met else 'missed'}"
        for what, (value, goal, met) in results.items()
    ]


def main() -> None:
    """Prints rows and goals."""
    parser = arguments(__doc__)
    parser.add_argument("--models", nargs="+", choices=(SSDLITE, VGG), default=[SSDLITE, VGG])
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0, help="of every comparison")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    set_threads(args.threads)
    jpeg = photo_bytes(args.photo)
    print(f"torchvision {torchvision.__version__}, torch {torch.__version__}, {args.threads} threads")
    facts, told = {}, []
    with kept(args.files) as folder:
        setting = Setting(jpeg, args.threads, Effort(seconds=args.seconds), folder)
        for name in args.models:
            rows = measure(open_network(name, folder, jpeg), setting)
            facts[name] = [asdict(row) for row in rows]
            told += [f"{name}: {sentence}" for sentence in judge(name, rows)]
    print(*told, sep="\n")
    if args.json:
        args.json.write_text(json.dumps(facts, indent=2) + "\n")
    raise SystemExit(int(any(sentence.endswith("missed") for sentence in told)))


if __name__ == "__main__":
    main()
