"""From the bytes of a 640x480 JPEG to detections, batch 1: every engine and precision against torchvision's two SSDs.

Usage: python benchmarks/predict.py [--models NAME ...] [--threads 2] [--seconds 5] [--files FOLDER] [--json FILE]
All sides hold the same weights (see `ready.py`) and take turns in one process, every second round backwards. Peer:
decode_image, then model([image]), in float32. Shown are medians with percentiles 10 to 90, and ratios by the medians
with percentiles 10 to 90 of the rounds. Of every engine the network alone is timed too (the same file, cut before its
post-processing), in turns with the whole file. Exit code 1 where a goal is missed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
import torchvision
from ready import SSDLITE, VGG, Network, arguments, decode, kept, open_network, photo_bytes, set_threads

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
    """One side: milliseconds of a call, times as fast as the peer, and the network's own share."""

    side: str
    call: Spread
    ratio: Spread | None = None
    network: Spread | None = None
    post: Spread | None = None

    def __str__(self) -> str:
        """One line of the table."""
        text = f"{self.side:<22} {self.call.p50:8.2f} ms ({self.call.p10:.2f}-{self.call.p90:.2f})"
        if self.ratio is not None:
            text += f"  {self.ratio.p50:5.2f}x ({self.ratio.p10:.2f}-{self.ratio.p90:.2f})"
        if self.network is not None and self.post is not None:
            share, whole = self.post.p50 / self.network.p50, self.call.p50 / self.network.p50
            text += f"  network {self.network.p50:.2f} ms, post {self.post.p50:.2f} ms ({share:.0%}), call {whole:.2f}x"
        return text


def peer(network: Network, jpeg: bytes) -> Call:
    """torchvision from bytes to detections."""
    model = network.torchvision()

    def call() -> object:
        with torch.inference_mode():
            return model([decode(jpeg)])

    return call


def measure(network: Network, jpeg: bytes, threads: int, effort: Effort, folder: Path) -> list[Row]:
    """The peer's row first, then one of every engine and precision, printed too."""
    detectors = network.detectors(threads)
    sides: dict[str, Call] = {"torchvision fp32": peer(network, jpeg)}
    for name, detector in detectors.items():
        sides[name] = lambda detector=detector: detector.predict(jpeg, conf=0.0)
    times = take_turns(sides, effort)
    theirs = times["torchvision fp32"]
    rows = [Row("torchvision fp32", Spread.of(theirs))]
    for name, detector in detectors.items():
        word = name.split()[1]
        onnx = word == "bf16" or network.exported[word].suffix == ".onnx"  # OpenVINO's own files are not cut
        split = network_and_post(detector, word, network, jpeg, threads, effort, folder) if onnx else ()
        ratios = [their / our for their, our in zip(theirs, times[name], strict=True)]
        rows.append(Row(name, Spread.of(times[name]), Spread.of(ratios), *split))
    print(f"{network.name}, {len(theirs)} rounds")
    for row in rows:
        print(f"  {row}", flush=True)
    return rows


def network_and_post(
    detector: Detector, word: str, network: Network, jpeg: bytes, threads: int, effort: Effort, folder: Path
) -> tuple[Spread, Spread]:
    """Milliseconds of the network alone, and by how much the whole file takes longer."""
    bare = folder / f"{network.name}-{word}-bare.onnx"
    write_bare(network.exported["fp32" if word == "bf16" else word], bare)
    precision: Literal["bf16"] | None = "bf16" if word == "bf16" else None
    alone = open_engine(bare, detector.engine.name, threads=threads, precision=precision)  # type: ignore[arg-type]
    batch = prepare(read_image(jpeg), detector.spec.input).pixels[None]
    times = take_turns({"whole": lambda: detector.engine.run(batch), "bare": lambda: alone.infer(batch)}, effort)  # type: ignore[attr-defined]
    post = [whole - bare for whole, bare in zip(times["whole"], times["bare"], strict=True)]
    return Spread.of(times["bare"]), Spread.of(post)


def judge(name: str, rows: list[Row]) -> list[str]:
    """A sentence for every goal, `met` or `missed`."""
    ours = [row for row in rows if row.ratio is not None]
    plain = max((row for row in ours if row.side.endswith("fp32")), key=_times)
    best = max(ours, key=_times)
    assert plain.network is not None and plain.post is not None
    share, whole = plain.post.p50 / plain.network.p50, plain.call.p50 / plain.network.p50
    results: Mapping[str, tuple[float, float, bool]] = {
        f"fp32, {plain.side}: times as fast": (_times(plain), GOALS[name][0], _times(plain) >= GOALS[name][0]),
        f"best, {best.side}: times as fast": (_times(best), GOALS[name][1], _times(best) >= GOALS[name][1]),
        f"post-processing / network, {plain.side}": (share, POST_SHARE[name], share <= POST_SHARE[name]),
        f"call / network, {plain.side}": (whole, WHOLE_CALL, whole <= WHOLE_CALL),
    }
    return [
        f"{what} {value:.2f} (goal {goal:g}): {'met' if met else 'missed'}"
        for what, (value, goal, met) in results.items()
    ]


def _times(row: Row) -> float:
    """Times as fast as the peer."""
    return row.ratio.p50 if row.ratio is not None else 1.0


def main() -> None:
    """Prints rows and goals."""
    parser = arguments(__doc__)
    parser.add_argument("--models", nargs="+", choices=(SSDLITE, VGG), default=[SSDLITE, VGG])
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0, help="of every comparison")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    set_threads(args.threads)
    jpeg, effort = photo_bytes(args.photo), Effort(seconds=args.seconds)
    print(f"torchvision {torchvision.__version__}, torch {torch.__version__}, {args.threads} threads")
    facts, told = {}, []
    with kept(args.files) as folder:
        for name in args.models:
            rows = measure(open_network(name, folder, jpeg), jpeg, args.threads, effort, folder)
            facts[name] = [asdict(row) for row in rows]
            told += [f"{name}: {sentence}" for sentence in judge(name, rows)]
    print(*told, sep="\n")
    if args.json:
        args.json.write_text(json.dumps(facts, indent=2) + "\n")
    raise SystemExit(int(any(sentence.endswith("missed") for sentence in told)))


if __name__ == "__main__":
    main()
