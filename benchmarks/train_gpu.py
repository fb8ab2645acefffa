"""Training on one GPU: images per second, memory and MFU, synthetic and from JPEG files, beside torchvision's step.

Usage: python benchmarks/train_gpu.py [--data FOLDER] [--batch 64] [--steps 50] [--peak TFLOPS] [--json FILE]
Rows: our ssd300_resnet50.nvidia_coco and ssd300_vgg16.torchvision_coco in bfloat16 (channels last, fused SGD, with and
without `torch.compile`) on a synthetic batch that stays on the device; the first of them from JPEG files through the
real loader, colours and mirror on the device; and torchvision's ssd300_vgg16, float32 and under autocast. A step is
forward, loss with matching, backward and optimizer. MFU counts 6 operations per multiply-accumulate of the network
(forward and backward) against the peak of the device in dense bfloat16, known for some devices and given by --peak for
others. Runs unattended; without a GPU it says so and ends with code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import ssd300_vgg16

from multibox.data.augment import AugmentSpec
from multibox.data.open import open_dataset
from multibox.data.samples import TrainSamples
from multibox.network.build import build_model
from multibox.network.cost import count_macs
from multibox.network.model import SSD
from multibox.network.normalize import Normalize
from multibox.training.feed.loader import EpochSampler, TrainBatch, make_loader
from multibox.training.feed.pixels import network_input
from multibox.training.losses.multibox_loss import multibox_loss
from multibox.zoo import load_spec

PEAKS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L40": 181.0, "L4": 121.0, "A10": 125.0, "4090": 165.0}
"""Dense bfloat16 TFLOPS by a part of the device's name, as NVIDIA's data sheets state them (without sparsity)."""

OBJECTS = 8


@dataclass(frozen=True)
class Row:
    """One measurement; `mfu` is a share, none where the peak or the operations are unknown."""

    name: str
    images_per_second: float
    gigabytes: float
    mfu: float | None = None

    def __str__(self) -> str:
        """One line of the table."""
        mfu = f"{self.mfu:6.1%}" if self.mfu is not None else "     -"
        return f"{self.name:<52} {self.images_per_second:8.0f} img/s  {self.gigabytes:5.1f} GB  MFU {mfu}"


class Ours:
    """A network of a sheet with its optimizer, ready for steps."""

    def __init__(self, name: str, *, compiled: bool) -> None:
        """`name` is the sheet's."""
        self.spec = load_spec(name)
        self.network: SSD = build_model(self.spec).cuda().to(memory_format=torch.channels_last).train()
        self.normalize = Normalize(self.spec.input).cuda()
        self.forward: Callable[[Tensor], tuple[Tensor, Tensor]] = self.network
        if compiled:
            self.forward = torch.compile(self.network)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-5, momentum=0.9, fused=True)

    def step(self, batch: TrainBatch) -> None:
        """One step of learning in bfloat16."""
        with torch.autocast("cuda", dtype=torch.bfloat16):
            predictions = self.forward(network_input(batch, self.normalize))
            loss = multibox_loss(
                predictions, batch.boxes, batch.labels, batch.valid, self.network.priors,
                spec=self.spec, level_sizes=self.network.level_sizes,
            ).total  # fmt: skip
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def synthetic(self, size: int) -> TrainBatch:
        """Noise, and objects of random places."""
        generator = torch.Generator("cuda").manual_seed(0)
        shape = (size, self.spec.input.height, self.spec.input.width, 3)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, device="cuda", generator=generator)
        corner = torch.rand(size, OBJECTS, 2, device="cuda", generator=generator) * 0.6
        side = torch.rand(size, OBJECTS, 2, device="cuda", generator=generator) * 0.3 + 0.1
        labels = torch.randint(0, len(self.spec.labels.names), (size, OBJECTS), device="cuda", generator=generator)
        valid = torch.ones_like(labels, dtype=torch.bool)
        nothing = torch.zeros(0, device="cuda")  # left to do to the pixels
        return TrainBatch(
            images, torch.cat([corner, corner + side], -1), labels, valid, torch.arange(size, device="cuda"),
            nothing.view(0, 3, 4), nothing.long().view(0, 4), nothing.bool(),
        )  # fmt: skip


def measure(name: str, step: Callable[[], int], steps: int, macs: int | None, peak: float | None) -> Row:
    """Images per second over `steps` steps after ten that are not counted; `step` returns its number of images."""
    for _ in range(10):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    images = sum(step() for _ in range(steps))
    torch.cuda.synchronize()
    rate = images / (time.perf_counter() - start)
    mfu = 6 * macs * rate / (peak * 1e12) if macs and peak else None
    return Row(name, rate, torch.cuda.max_memory_allocated() / 1e9, mfu)


def ours_synthetic(name: str, args: argparse.Namespace, peak: float | None, *, compiled: bool) -> Row:
    """Our step on one batch that stays on the device."""
    side = Ours(name, compiled=compiled)
    batch = side.synthetic(args.batch)

    def step() -> int:
        side.step(batch)
        return args.batch

    title = f"multibox {name} bf16{' compiled' if compiled else ''}, synthetic"
    return measure(title, step, args.steps, count_macs(side.network), peak)


def ours_from_files(name: str, args: argparse.Namespace, peak: float | None, *, compiled: bool) -> Row:
    """Our step fed by the real loader: files, the paper's augmentation, copies to the device."""
    side = Ours(name, compiled=compiled)
    batches = endless(side, args)

    def step() -> int:
        batch = next(batches)
        side.step(batch)
        return len(batch.images)

    macs = count_macs(side.network)
    return measure(f"multibox {name} bf16{' compiled' if compiled else ''}, JPEG files", step, args.steps, macs, peak)


def endless(side: Ours, args: argparse.Namespace) -> Iterator[TrainBatch]:
    """Batches on the device, epoch after epoch, labels kept within the network's classes."""
    dataset = open_dataset(args.data, "train")
    samples = TrainSamples(dataset, side.spec.input, AugmentSpec(), 0, finished=False)
    loader = make_loader(samples, batch=args.batch, seed=0, workers=args.workers, pin=True)
    sampler = loader.sampler
    assert isinstance(sampler, EpochSampler)
    for epoch in count():
        sampler.set_epoch(epoch)
        for batch in loader:
            on_device = TrainBatch(*(part.cuda(non_blocking=True) for part in batch))
            yield on_device._replace(labels=on_device.labels % len(side.spec.labels.names))


def theirs_synthetic(args: argparse.Namespace, macs: int, peak: float | None, *, amp: bool) -> Row:
    """Torchvision's ssd300_vgg16: its own forward with targets, its losses, SGD."""
    model: nn.Module = ssd300_vgg16(weights=None, weights_backbone=None).cuda().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9)
    batch = Ours("ssd300_vgg16.torchvision_coco", compiled=False).synthetic(args.batch)
    images = [image.permute(2, 0, 1).float() / 255 for image in batch.images]
    rows = zip(batch.boxes, batch.labels, strict=True)
    targets = [{"boxes": boxes * 300, "labels": labels + 1} for boxes, labels in rows]

    def step() -> int:
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=amp):
            loss = sum(model(images, targets).values())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return len(images)

    title = f"torchvision ssd300_vgg16 {'bf16 autocast' if amp else 'fp32'}, synthetic"
    return measure(title, step, max(5, args.steps // 5), macs, peak)


def main() -> None:
    """Prints one line per measurement, and the ratios that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("MULTIBOX_SHARED", Path(__file__).parents[2] / "shared"))
    parser.add_argument("--data", type=Path, default=shared / "data" / "coco_sample")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--peak", type=float, help="dense bfloat16 TFLOPS of the device")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("there is no GPU here; this script measures training on one")
    device = torch.cuda.get_device_name()
    peak = args.peak or next((tflops for part, tflops in PEAKS.items() if part in device), None)
    torch.set_float32_matmul_precision("high")
    resnet, vgg = "ssd300_resnet50.nvidia_coco", "ssd300_vgg16.torchvision_coco"
    rows = [ours_synthetic(name, args, peak, compiled=compiled) for name in (resnet, vgg) for compiled in (False, True)]
    rows.append(ours_from_files(resnet, args, peak, compiled=True))
    macs = count_macs(build_model(load_spec(vgg)))
    rows += [theirs_synthetic(args, macs, peak, amp=amp) for amp in (False, True)]
    print(f"{device}, torch {torch.__version__}, batch {args.batch}, {args.workers} workers, peak {peak} TFLOPS")
    for row in rows:
        print(row)
    ratio = rows[3].images_per_second / rows[-1].images_per_second
    print(f"ssd300_vgg16, multibox bf16 compiled / torchvision autocast: {ratio:.2f}x")
    if args.json:
        args.json.write_text(json.dumps({"device": device, "rows": [asdict(row) for row in rows]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
