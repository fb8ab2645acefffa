"""Training from files on the CPU, images per second: `multibox train` against torchvision's own loop, SSDLite320.

Usage: python benchmarks/train.py [--data FOLDER] [--split train] [--batch 16] [--workers 1] [--epochs 2] [--rounds 3]
Both sides learn the same photos from scratch with flip and IoU crop (torchvision's "ssdlite" preset), SGD with momentum
and the same batch. Torchvision's side is the loop of its detection references: v2 transforms, its model and losses, one
optimizer step per batch. Ours is the whole training, with averaged weights, as `results.csv` reports it; in float32 and
in bfloat16. The sides take turns, each time in a process of its own, and report the last of its epochs: the first one
also pays for the process's memory and kernels. Each side's best turn counts; OMP_NUM_THREADS (2) holds for all.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.transforms import v2

from multibox.data.dataset import Record
from multibox.data.open import open_dataset
from multibox.training.kept.results_table import read_rows
from multibox.training.options import TrainOptions
from multibox.training.train import train

Item = tuple[Tensor, dict[str, Tensor]]


class TheirSamples(Dataset[Item]):
    """Photos by Pillow and the "ssdlite" preset of torchvision's references, at the photo's own size."""

    def __init__(self, records: list[Record]) -> None:
        """`records` with at least one object each, as the references keep them."""
        self.records = records
        steps = [v2.PILToTensor(), v2.RandomIoUCrop(), v2.RandomHorizontalFlip(p=0.5)]
        self.preset = v2.Compose(
            [*steps, v2.ToDtype(torch.float, scale=True), v2.SanitizeBoundingBoxes(), v2.ToPureTensor()]
        )

    def __len__(self) -> int:
        """Photos."""
        return len(self.records)

    def __getitem__(self, index: int) -> Item:
        """One photo and its target."""
        record = self.records[index]
        size = (record.height, record.width)
        boxes = tv_tensors.BoundingBoxes(torch.from_numpy(record.boxes), format="XYXY", canvas_size=size)
        labels = torch.from_numpy(record.labels) + 1
        sample: Item = self.preset(Image.open(record.path).convert("RGB"), {"boxes": boxes, "labels": labels})
        return sample


class TheirLoop:
    """Model, optimizer and loader live on from epoch to epoch."""

    def __init__(self, records: list[Record], classes: int, batch: int, *, workers: int, rate: float) -> None:
        """`classes` without background; only whole batches are learnt, as in their references."""
        self.model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes + 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=rate, momentum=0.9, weight_decay=4e-5)
        self.loader = DataLoader(
            TheirSamples(records), batch, shuffle=True, num_workers=workers, drop_last=True,
            collate_fn=lambda items: tuple(zip(*items, strict=True)),
        )  # fmt: skip

    def epoch(self, after_step: Callable[[], object] = lambda: None) -> float:
        """Images per second of one epoch."""
        self.model.train()
        start, images = time.perf_counter(), 0
        for photos, targets in self.loader:
            loss = sum(self.model(list(photos), list(targets)).values())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            after_step()
            images += len(photos)
        return images / (time.perf_counter() - start)


def their_rate(args: argparse.Namespace) -> float:
    """Images per second of the last of `epochs` epochs of torchvision's loop."""
    records, classes = learnt(args)
    loop = TheirLoop(records, classes, args.batch, workers=args.workers, rate=0.01)
    return [loop.epoch() for _ in range(args.epochs)][-1]


def our_rate(args: argparse.Namespace, amp: Literal["none", "bf16"]) -> float:
    """Images per second of the last of `epochs` epochs of `multibox train`."""
    with tempfile.TemporaryDirectory() as folder:
        options = TrainOptions(
            data=str(args.data), model="ssdlite320_mobilenet_v3_large", split=args.split, val_split="none",
            epochs=args.epochs, batch=args.batch, workers=args.workers, amp=amp, lr0=0.01,
            zoom_out=0.0, photometric=False, project=folder,
        )  # fmt: skip
        result = train(options)
        return read_rows(result.folder / "results.csv")[-1]["img_per_s"]


def learnt(args: argparse.Namespace) -> tuple[list[Record], int]:
    """The photos with objects, and the number of classes."""
    dataset = open_dataset(args.data, args.split)
    return [record for record in dataset.records if len(record.boxes)], len(dataset.names)


SIDES: dict[str, Callable[[argparse.Namespace], float]] = {
    "torchvision": their_rate,
    "multibox fp32": partial(our_rate, amp="none"),
    "multibox bf16": partial(our_rate, amp="bf16"),
}


def in_a_new_process(side: str) -> float:
    """The side's rate, from a process that starts as a user's would, with the options of this one."""
    words = [sys.executable, *sys.argv, "--side", side]
    return float(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def main() -> None:
    """Prints each side's images per second and the ratios; with --side the rate of that one alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("MULTIBOX_SHARED", Path(__file__).parents[2] / "shared"))
    parser.add_argument("--data", type=Path, default=shared / "data" / "bccd")
    parser.add_argument("--split", default="train")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES)
    args = parser.parse_args()
    if args.side:
        print(SIDES[args.side](args))
        return
    best = dict.fromkeys(SIDES, 0.0)
    for _ in range(args.rounds):
        for side in SIDES:
            best[side] = max(best[side], in_a_new_process(side))
    photos = len(learnt(args)[0])
    print(f"{photos} photos, batches of {args.batch}, {torch.get_num_threads()} threads, {args.workers} workers")
    for name, rate in best.items():
        print(f"{name:<16} {rate:6.1f} img/s   {rate / best['torchvision']:.2f}x")


if __name__ == "__main__":
    main()
