"""Prediction on one GPU: throughput with NMS included, latency of one image with CUDA graphs, post-processing alone.

Usage: python benchmarks/predict_gpu.py [--batch 64] [--rounds 100] [--json FILE]
The network is ssd300_resnet50.nvidia_coco with random weights of which about 2,000 (prior, class) pairs pass the
threshold (`multibox.evaluation.made_up`), in bfloat16 and channels last; normalisation and post-processing are inside
the measured part, pixels are uint8 and on the device already.
  throughput  a batch: network (compiled with --compile), then `boxes.postprocess.detect`, detections on the device
  latency     one image: normalisation and network replayed as a CUDA graph, then `detect`; and the graph alone
  post        `detect` of batch x 8,732 priors x 81 columns, the network's own output
Wall times of single rounds with the device synchronised before and after each; medians and percentiles. Exit code 1
where a goal is missed or there is no GPU. It has run on no GPU yet.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from ready import photo_bytes
from torch import Tensor, nn

from multibox.boxes.postprocess import Detections, detect
from multibox.evaluation.made_up import make_up
from multibox.evaluation.stopwatch import Spread
from multibox.images.prepare import prepare
from multibox.images.read import read_image
from multibox.network.model import SSD, Predictions
from multibox.network.normalize import Normalize
from multibox.zoo import load_spec

SHEET = "ssd300_resnet50.nvidia_coco"
IMAGES_PER_SECOND, ONE_IMAGE, POST = 6000.0, 1.5, 1.0
"""Goals: images per second, milliseconds, milliseconds."""
WARM = 10


class Pixels(nn.Module):
    """uint8 pixels [n, h, w, 3] -> logits and offsets, in bfloat16."""

    def __init__(self, model: SSD) -> None:
        """`model` on the device; its weights become bfloat16, the normalisation stays float32."""
        super().__init__()
        self.normalize = Normalize(model.spec.input).cuda()
        self.network = model.to(torch.bfloat16, memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Predictions:
        """The network's output."""
        pixels = self.normalize(images).to(torch.bfloat16, memory_format=torch.channels_last)
        found: Predictions = self.network(pixels)
        return found


def milliseconds(call: Callable[[], object], rounds: int) -> Spread:
    """Wall time of single rounds, warm."""
    taken = []
    for number in range(rounds + WARM):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        if number >= WARM:
            taken.append(1000 * (time.perf_counter() - start))
    return Spread.of(taken)


def captured(pixels: Pixels, images: Tensor) -> tuple[torch.cuda.CUDAGraph, Predictions]:
    """The network on `images` as a CUDA graph, and the tensors that every replay fills."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # cuDNN chooses its kernels before anything is captured
        for _ in range(WARM):
            pixels(images)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = pixels(images)
    return graph, found


def measure(model: SSD, batch: int, rounds: int, *, compiled: bool) -> dict[str, Spread]:
    """Milliseconds by name."""
    spec, priors, levels = model.spec, model.priors.clone(), model.level_sizes
    pixels = Pixels(model)
    network: Callable[[Tensor], Predictions] = torch.compile(pixels) if compiled else pixels
    picture = torch.from_numpy(prepare(read_image(photo_bytes()), spec.input).pixels)[None].cuda()
    many = torch.cat([picture, picture.flip(2)]).repeat(-(-batch // 2), 1, 1, 1)[:batch].contiguous()

    def post(found: Predictions) -> list[Detections]:
        return detect(found.logits, found.offsets, priors, spec, levels)

    logits_and_offsets = network(many)
    times = {
        "batch": milliseconds(lambda: post(network(many)), rounds),
        "batch, network alone": milliseconds(lambda: network(many), rounds),
        "post": milliseconds(lambda: post(logits_and_offsets), rounds),
    }
    graph, found = captured(pixels, picture)

    def replayed() -> object:
        graph.replay()
        return post(found)

    return {
        **times,
        "one image": milliseconds(replayed, rounds),
        "one image, graph": milliseconds(graph.replay, rounds),
    }


def main() -> None:
    """Prints the figures beside their goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--compile", action="store_true", help="torch.compile the network of the batch")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("there is no GPU here; this script measures prediction on one")
    torch.backends.cudnn.benchmark = True
    spec = load_spec(SHEET)
    model = make_up(spec, prepare(read_image(photo_bytes()), spec.input).pixels).cuda().eval()
    with torch.inference_mode():
        times = measure(model, args.batch, args.rounds, compiled=args.compile)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {SHEET}, bf16, batch {args.batch}")
    for name, spread in times.items():
        print(f"{name:<22} {spread.p50:8.3f} ms (p90 {spread.p90:.3f}, p99 {spread.p99:.3f}, {spread.calls} rounds)")
    rate = 1000 * args.batch / times["batch"].p50
    met = (rate >= IMAGES_PER_SECOND, times["one image"].p50 <= ONE_IMAGE, times["post"].p50 <= POST)
    print(f"{rate:.0f} img/s with NMS (goal {IMAGES_PER_SECOND:.0f}): {'met' if met[0] else 'missed'}")
    print(f"one image {times['one image'].p50:.2f} ms (goal {ONE_IMAGE}): {'met' if met[1] else 'missed'}")
    print(f"post-processing {times['post'].p50:.2f} ms (goal {POST}): {'met' if met[2] else 'missed'}")
    if args.json:
        facts = {"device": torch.cuda.get_device_name(), "images_per_second": rate}
        args.json.write_text(json.dumps({**facts, "milliseconds": {k: asdict(v) for k, v in times.items()}}, indent=2))
    raise SystemExit(int(not all(met)))


if __name__ == "__main__":
    main()
