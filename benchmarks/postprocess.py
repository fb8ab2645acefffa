"""Post-processing of 8,732 priors x 91 classes against torchvision's `SSD.postprocess_detections`, same tensors.

Usage: python benchmarks/postprocess.py [--threads 1 2] [--rounds 15]
The logits are random with a background bias, so that about 2,000 (prior, class) pairs of an image pass the threshold of
0.01, as after training. Before the clock starts, the detections of both sides must be the same.
"""

from __future__ import annotations

import argparse

import torch
import torchvision
from timing import compare
from torch import Tensor
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

from multibox.boxes.coding import to_corners
from multibox.boxes.postprocess import Detections, detect
from multibox.boxes.priors import make_priors
from multibox.zoo import load_spec

SPEC = load_spec("ssd300_vgg16.torchvision_coco")
SIDE = SPEC.input.height
RULE = {"score_thresh": 0.01, "nms_thresh": 0.45, "topk_candidates": 400, "detections_per_img": 200}


def check(theirs: list[dict[str, Tensor]], ours: list[Detections]) -> None:
    """Raises where a detection differs: label, score by 1e-6, or box by 1e-3 pixel."""
    for wanted, found in zip(theirs, ours, strict=True):
        assert torch.equal(wanted["labels"], found.labels + 1)
        assert (wanted["scores"] - found.scores).abs().max() <= 1e-6
        assert (wanted["boxes"] - found.boxes * SIDE).abs().max() <= 1e-3


@torch.inference_mode()
def main() -> None:
    """Prints the times of both sides for batches of 1 and 32."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}")
    # Only the post-processing of this model is used, with the numbers of torchvision's SSD300.
    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, **RULE).eval()
    priors = make_priors(SPEC.priors, (SIDE, SIDE), [(n, n) for n in (38, 19, 10, 5, 3, 1)])
    corners = to_corners(priors) * SIDE
    for threads in args.threads:
        torch.set_num_threads(threads)
        for n in (1, 32):
            torch.manual_seed(0)
            logits, offsets = torch.randn(n, len(priors), 91) * 2, torch.randn(n, len(priors), 4) * 0.5
            logits[..., 0] += 12.25
            heads, anchors, sizes = (
                {"cls_logits": logits, "bbox_regression": offsets},
                [corners] * n,
                [(SIDE, SIDE)] * n,
            )

            def theirs(heads=heads, anchors=anchors, sizes=sizes) -> list[dict[str, Tensor]]:  # type: ignore[no-untyped-def]
                return model.postprocess_detections(heads, anchors, sizes)

            def ours(logits: Tensor = logits, offsets: Tensor = offsets) -> list[Detections]:
                return detect(logits, offsets, priors, SPEC)

            check(theirs(), ours())
            pairs = int((logits.softmax(-1)[..., 1:] > RULE["score_thresh"]).sum()) // n
            name = f"batch {n}, {threads} thread{'s' * (threads > 1)}"
            print(f"{pairs} pairs per image pass; {'detections are the same':<24}", end="  ")
            compare(name, theirs, ours, args.rounds if n == 1 else max(3, args.rounds // 3), 5)


if __name__ == "__main__":
    main()
