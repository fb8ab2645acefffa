"""JPEG decode, the paper's augmentation and resize to 300 x 300, per image on one core, against torchvision's preset.

Usage: python benchmarks/augment.py [--images FOLDER_OF_A_COCO_SAMPLE] [--rounds 5]
torchvision's side is its SSD preset from its detection references (v2 transforms on tensors, photos by Pillow), with
the resize to the network's size that its model does afterwards. All sides read the same files and boxes, and all also
shuffle channels as torchvision's preset does. CPU time of the whole process is counted, with one thread on each side;
the sides take turns, and the best round of each counts.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from multibox.data import augment, cache, photo, render
from multibox.data.augment import AugmentSpec
from multibox.data.dataset import Dataset, Record
from multibox.data.open import open_dataset
from multibox.data.photometric import Photometric
from multibox.data.samples import TrainSamples
from multibox.network.normalize import Normalize
from multibox.spec import InputSpec
from multibox.training.feed.loader import to_batch
from multibox.training.feed.pixels import network_input

SIDE = 300
FILL = (123, 117, 104)
WANTED = 10.0

Side = Callable[[int, int], object]
"""(index of the record, epoch) -> a sample."""

STAGES = {
    "read the file": [(cache, "open_photo")],
    "decode": [(photo, "decode")],
    "crop (draws, boxes)": [(augment, "zoom_window"), (augment, "crop_window"), (augment, "visible")],
    "resize": [(render, "_resize"), (augment, "canvas")],
    "photometric, flip": [(augment, "mean_color"), (augment, "draw_matrix"), (augment, "finish")],
}
"""What is timed as which part: functions by the module that calls them, none of them calling another."""


def torchvision_side(records: tuple[Record, ...]) -> Side:
    """The SSD preset of torchvision's references, then the stretch to the network's size."""
    preset = v2.Compose(
        [
            v2.PILToTensor(),
            v2.RandomPhotometricDistort(),
            v2.RandomZoomOut(fill=list(FILL)),
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(p=0.5),
            v2.ToDtype(torch.float, scale=True),
            v2.SanitizeBoundingBoxes(),
            v2.ToPureTensor(),
        ]
    )
    resize = v2.Resize((SIDE, SIDE))

    def one(index: int, epoch: int) -> object:
        torch.manual_seed(epoch * len(records) + index)
        record = records[index]
        image = Image.open(record.path).convert("RGB")
        boxes = tv_tensors.BoundingBoxes(
            torch.from_numpy(record.boxes), format="XYXY", canvas_size=(record.height, record.width)
        )
        image, target = preset(image, {"boxes": boxes, "labels": torch.from_numpy(record.labels)})
        return resize(image), target

    return one


def input_spec() -> InputSpec:
    """The network's input."""
    return InputSpec(height=SIDE, width=SIDE, mean=FILL, std=(1.0, 1.0, 1.0))


def our_side(dataset: Dataset, **options: Any) -> Side:
    """The same by `TrainSamples`, which the training's workers run."""
    network = input_spec()
    spec = AugmentSpec(photometric=Photometric(shuffle_p=0.5))
    samples = TrainSamples(dataset, network, spec, **options)
    if samples.cached:
        print(f"cache             {samples.cached}")

    def one(index: int, epoch: int) -> object:
        samples.set_epoch(epoch)
        return samples[index]

    return one


def seconds(one: Side, count: int, epoch: int) -> float:
    """CPU time of one epoch."""
    start = time.process_time()
    for index in range(count):
        one(index, epoch)
    return time.process_time() - start


def milliseconds(sides: dict[str, Side], count: int, rounds: int) -> dict[str, float]:
    """Each side's CPU time per image in its best round; the sides take turns, so that other load touches all."""
    best = dict.fromkeys(sides, float("inf"))
    for epoch in range(rounds):
        for name, one in sides.items():
            best[name] = min(best[name], seconds(one, count, epoch) / count * 1e3)
    return best


def shares(one: Side, count: int, rounds: int) -> dict[str, float]:
    """The share of each part in the CPU time of our side, over all rounds."""
    spent: dict[str, float] = defaultdict(float)

    def timed(stage: str, function: Callable[..., object], *args: object, **words: object) -> object:
        start = time.process_time()
        try:
            return function(*args, **words)
        finally:
            spent[stage] += time.process_time() - start

    patches = [
        patch.object(module, name, partial(timed, stage, getattr(module, name)))
        for stage, functions in STAGES.items()
        for module, name in functions
    ]
    for each in patches:
        each.start()
    total = sum(seconds(one, count, epoch) for epoch in range(rounds))
    for each in patches:
        each.stop()
    return {**{stage: spent[stage] / total for stage in STAGES}, "all else": 1 - sum(spent.values()) / total}


def device_milliseconds(dataset: Dataset, rounds: int) -> tuple[float, float]:
    """CPU time per image of what a CPU as device does with a batch of 16: (finished by workers, colours left to it)."""
    network = input_spec()
    found = []
    for finished in (True, False):
        samples = TrainSamples(dataset, network, AugmentSpec(), finished=finished)
        batch, normalize = to_batch([(index, samples[index]) for index in range(16)]), Normalize(network)
        best = float("inf")
        for _ in range(4 * rounds):
            start = time.process_time()
            network_input(batch, normalize)
            best = min(best, time.process_time() - start)
        found.append(best / 16 * 1e3)
    return found[0], found[1]


def main() -> None:
    """Prints the times, their ratios, and the shares of ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("MULTIBOX_SHARED", Path(__file__).parents[2] / "shared"))
    parser.add_argument("--images", type=Path, default=shared / "data" / "coco_sample")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    dataset = open_dataset(args.images, "train")
    records = tuple(record for record in dataset.records if len(record.boxes))
    dataset = replace(dataset, records=records)
    sides = {
        "torchvision": torchvision_side(records),
        "multibox": our_side(dataset),
        "multibox, colours left to the device": our_side(dataset, finished=False),
        "multibox, cache bytes": our_side(dataset, cache="bytes"),
        "multibox, cache ram": our_side(dataset, cache="ram"),
        "multibox, cache ram, colours left": our_side(dataset, cache="ram", finished=False),
        "multibox, cache disk": our_side(dataset, cache="disk"),
    }
    best = milliseconds(sides, len(records), args.rounds)
    print(f"{len(records)} images; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, each in best.items():
        ratio = best["torchvision"] / each
        print(f"{name:<40}{each:7.2f} ms CPU per image{1e3 / each:8.0f} images/s per core{ratio:7.1f}x")
    print(f"wanted of multibox: {WANTED:.0f}x")
    for stage, share in shares(sides["multibox"], len(records), args.rounds).items():
        print(f"  {stage:<22}{share:6.1%}")
    done, left = device_milliseconds(dataset, args.rounds)
    print(f"on a CPU as device: {done:.2f} ms to normalise, {left:.2f} ms with the colours that were left to it")


if __name__ == "__main__":
    main()
