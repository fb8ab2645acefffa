"""Matching and loss for 32 images x 8,732 priors x 10 objects against torchvision's SSDMatcher and `SSD.compute_loss`.

Usage: python benchmarks/matching_loss.py [--threads 1 2] [--rounds 15]
Loss means forward and backward on the matches. Before the clock starts, matches must be equal, and losses and gradients
the same to 1e-5.
"""

from __future__ import annotations

import argparse

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
from multibox.training.loss import matched_loss
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


def main() -> None:
    """Prints the times of both sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}")
    torch.manual_seed(0)
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
