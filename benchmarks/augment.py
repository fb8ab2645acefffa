"""JPEG decode, the paper's augmentation and resize to 300 x 300, per image on one core, against torchvision's preset.

Usage: python benchmarks/augment.py [--images FOLDER_OF_A_COCO_SAMPLE] [--rounds 3]
torchvision's side is its SSD preset from its detection references (v2 transforms on tensors, photos by Pillow), with
the resize to the network's size that its model does afterwards. Both sides read the same files and boxes, and both also
shuffle channels as torchvision's preset does. CPU time of the whole process is counted, with one thread on each side.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from multibox.data.augment import AugmentSpec, augment
from multibox.data.dataset import Record
from multibox.data.open import open_dataset
from multibox.data.photometric import Photometric
from multibox.spec import InputSpec

SIDE = 300
FILL = (123, 117, 104)


def torchvision_side() -> Callable[[Record, int], object]:
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

    def one(record: Record, seed: int) -> object:
        torch.manual_seed(seed)
        image = Image.open(record.path).convert("RGB")
        boxes = tv_tensors.BoundingBoxes(
            torch.from_numpy(record.boxes), format="XYXY", canvas_size=(record.height, record.width)
        )
        image, target = preset(image, {"boxes": boxes, "labels": torch.from_numpy(record.labels)})
        return resize(image), target

    return one


def our_side() -> Callable[[Record, int], object]:
    """The same through `multibox.data.augment`."""
    network = InputSpec(height=SIDE, width=SIDE, mean=FILL, std=(1.0, 1.0, 1.0))
    spec = AugmentSpec(photometric=Photometric(shuffle_p=0.5))

    def one(record: Record, seed: int) -> object:
        return augment(record.path, record.boxes, record.labels, spec, network, np.random.default_rng(seed))

    return one


def milliseconds(sides: list[Callable[[Record, int], object]], records: list[Record], rounds: int) -> list[float]:
    """Each side's CPU time per image in its best round; the sides take turns, so that other load touches both."""
    best = [float("inf")] * len(sides)
    for turn in range(rounds):
        for which, one in enumerate(sides):
            start = time.process_time()
            for index, record in enumerate(records):
                one(record, turn * len(records) + index)
            best[which] = min(best[which], (time.process_time() - start) / len(records) * 1e3)
    return best


def main() -> None:
    """Prints both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("MULTIBOX_SHARED", Path(__file__).parents[2] / "shared"))
    parser.add_argument("--images", type=Path, default=shared / "data" / "coco_sample")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    records = [record for record in open_dataset(args.images, "train").records if len(record.boxes)]
    theirs, ours = milliseconds([torchvision_side(), our_side()], records, args.rounds)
    print(f"images            {len(records)}")
    print(f"torchvision       {theirs:.2f} ms CPU per image")
    print(f"multibox          {ours:.2f} ms CPU per image")
    print(f"ratio             {theirs / ours:.1f}x (wanted: 6x)")


if __name__ == "__main__":
    main()
