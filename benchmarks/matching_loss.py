"""Matching and loss for 32 images x 8,732 priors x 10 objects against torchvision's SSDMatcher and `SSD.compute_loss`.

Usage: python benchmarks/matching_loss.py [--threads 1 2] [--rounds 15]
Loss means forward and backward on the matches. Before the clock starts, matches must be equal, and losses and gradients
the same to 1e-5. First come time and memory of a large batch of ours alone: 64 images x 24,564 priors x 200 objects.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
import torchvision
from timing import compare
from torch import Tensor
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection._utils import SSDMatcher
from torchvision.ops import box_iou

from multibox.boxes.coding import to_corners
from multibox.boxes.matching import match
from multibox.boxes.priors import make_priors
from multibox.training.losses.multibox_loss import matched_loss
from multibox.zoo import load_spec

SPEC = load_spec("ssd300_vgg16.torchvision_coco")
SIDE = SPEC.input.height
PRIORS = make_priors(SPEC.priors, (SIDE, SIDE), [(n, n) for n in (38, 19, 10, 5, 3, 1)])
CORNERS = to_corners(PRIORS) * SIDE


def batch(n: int, g: int) -> tuple[Tensor, Tensor]:
    """Random boxes [n, g, 4], between 15 and 165 pixels large, and labels [n, g]."""
    centre, side = torch.rand(n, g, 2), torch.rand(n, g, 2) * 0.5 + 0.05
    boxes = torch.cat([(centre - side / 2).clamp(min=0), (centre + side / 2).clamp(max=1)], dim=-1)
    return boxes, torch.randint(0, 90, (n, g))


def torchvisions_matches(boxes: Tensor) -> list[Tensor]:
    """As in torchvision's `SSD.forward`: image by image."""
    matcher = SSDMatcher(0.5)
    return [matcher(box_iou(each, CORNERS)) for each in boxes]


def large_batch(threads: int) -> None:
    """Prints the time of one step for the priors of an input of 512 pixels, and by how many MB the process grows."""
    torch.set_num_threads(threads)
    levels = [replace(level, step=None) for level in SPEC.priors.levels]
    layout = replace(SPEC.priors, levels=(*levels[:4], levels[3], *levels[4:]))
    priors = make_priors(layout, (512, 512), [(n, n) for n in (64, 32, 16, 8, 4, 2, 1)])
    boxes, labels = batch(64, 200)
    labels, valid = labels % 80, torch.ones(64, 200, dtype=torch.bool)
    logits = torch.empty(64, len(priors), 81).normal_().requires_grad_()
    offsets = torch.empty(64, len(priors), 4).normal_().requires_grad_()
    start, clock = memory("VmRSS"), time.perf_counter()
    matches = match(boxes, valid, priors, SPEC.matching, SPEC.matching_size)
    matched, grown = time.perf_counter(), memory("VmHWM") - start
    matched_loss((logits, offsets), matches, boxes, labels, priors, spec=SPEC).total.backward()
    done, whole = time.perf_counter(), memory("VmHWM") - start
    given = sum(tensor.nbytes for tensor in (logits, offsets)) / 1e6
    print(
        f"64 x {len(priors):,} x 200, {threads} thread{'s' * (threads > 1)}: matching {matched - clock:.2f} s, "
        f"at most {grown:.0f} MB more; loss and gradients {done - matched:.2f} s, {whole:.0f} MB; "
        f"logits and offsets {given:.0f} MB, their gradients as much; together {given + whole:.0f} MB (wanted 1500)"
    )


def memory(field: str) -> float:
    """This process's memory in MB by Linux's own account: `VmRSS` now, `VmHWM` at most until now."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6


def main() -> None:
    """Prints the times of both sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}")
    torch.manual_seed(0)
    large_batch(max(args.threads))
    boxes, labels = batch(32, 10)
    pixels, valid = boxes * SIDE, torch.ones(32, 10, dtype=torch.bool)
    logits = (torch.randn(32, len(PRIORS), 91) * 2).requires_grad_()
    offsets = (torch.randn(32, len(PRIORS), 4) * 0.5).requires_grad_()
    model = ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None
    )  # its loss is that of every torchvision SSD
    targets = [{"boxes": each, "labels": label + 1} for each, label in zip(pixels, labels, strict=True)]
    their_matches = torchvisions_matches(pixels)
    our_matches = match(boxes, valid, PRIORS, SPEC.matching, SPEC.matching_size)
    assert torch.equal(torch.stack(their_matches), our_matches)

    def theirs() -> list[Tensor]:
        heads = {"cls_logits": logits, "bbox_regression": offsets}
        losses = model.compute_loss(targets, heads, [CORNERS] * 32, their_matches)
        total = losses["classification"] + losses["bbox_regression"]
        return [total.detach(), *torch.autograd.grad(total, (logits, offsets))]

    def ours() -> list[Tensor]:
        total = matched_loss((logits, offsets), our_matches, boxes, labels, PRIORS, spec=SPEC).total
        return [total.detach(), *torch.autograd.grad(total, (logits, offsets))]

    for wanted, found in zip(theirs(), ours(), strict=True):
        assert (wanted - found).abs().max() <= 1e-5 * wanted.abs().max()
    print("matches are equal; losses and gradients are the same to 1e-5")
    for threads in args.threads:
        torch.set_num_threads(threads)
        name = f"{threads} thread{'s' * (threads > 1)}"
        compare(
            f"matching, {name}",
            lambda: torchvisions_matches(pixels),
            lambda: match(boxes, valid, PRIORS, SPEC.matching, SPEC.matching_size),
            args.rounds,
            5,
        )
        compare(f"loss, {name}", theirs, ours, max(3, args.rounds // 3), 1.5)


if __name__ == "__main__":
    main()
