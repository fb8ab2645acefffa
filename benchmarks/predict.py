"""From the bytes of a 640x480 JPEG to detections, batch 1: our default CPU engine against torchvision's two SSDs.

Usage: python benchmarks/predict.py [--photo FILE] [--rounds 20] [--json FILE]; OMP_NUM_THREADS (2) holds for all sides
The peer's models have random weights (batch norms measured on the photo and scaled heads, so that scores are spread as
after training) and a background bias at which about 2,000 (prior, class) pairs pass their threshold. Our side runs the
same weights, imported and exported. Peer: decode_image, then model([image]). All sides take turns in every round, and
medians are shown. Single steps of our side are timed apart.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import cv2
import torch
import torchvision
from torch import Tensor, nn
from torchvision.io import ImageReadMode, decode_image
from torchvision.models.detection import ssd300_vgg16, ssdlite320_mobilenet_v3_large

from multibox.exporting.onnx import export_onnx
from multibox.images.prepare import prepare
from multibox.images.read import read_image
from multibox.prediction.detector import Detector
from multibox.prediction.engines import open_engine
from multibox.prediction.engines.torch_engine import TorchEngine
from multibox.zoo.models import load_model

THREADS = int(os.environ["OMP_NUM_THREADS"])
PAIRS = 2000
GOALS = {"ssdlite320_mobilenet_v3_large": 3.0, "ssd300_vgg16": 1.4}
Run = Callable[[], object]


def photo_bytes(path: Path | None) -> bytes:
    """A 640x480 JPEG of quality 90 from `path`, or from the photograph that matplotlib installs."""
    if path is None:
        spec = importlib.util.find_spec("matplotlib")
        path = Path(spec.origin).parent / "mpl-data/sample_data/grace_hopper.jpg"
    image = cv2.resize(cv2.imread(str(path)), (640, 480), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def spread(model: nn.Module, pixels: Tensor, std: float = 1.0) -> None:
    """Measures the batch norms on `pixels` [1, 3, h, w] (0..1) and scales the heads to logits of deviation `std`."""
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    images, _ = model.transform([pixels[0]])
    mirrored = torch.cat([images.tensors, images.tensors.flip(3), images.tensors.flip(2)])
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average
    model.train()
    model.head(list(model.backbone(mirrored).values()))
    model.eval()
    maps = list(model.backbone(images.tensors).values())
    heads = ((model.head.classification_head, std), (model.head.regression_head, std / 2))
    for head, wanted in heads:
        for predict, features in zip(head.module_list, maps, strict=True):
            last = predict[-1] if isinstance(predict, nn.Sequential) else predict
            last.weight.mul_(wanted / predict(features).std().clamp(min=1e-6))


def raise_background(model: nn.Module, pixels: Tensor) -> int:
    """Sets the bias of the background so that about `PAIRS` (prior, class) pairs pass; how many do."""
    images, _ = model.transform([pixels[0]])
    logits = model.head(list(model.backbone(images.tensors).values()))["cls_logits"]
    low, high, passing = 0.0, 40.0, 0
    for _ in range(40):
        shift = torch.zeros(logits.shape[-1])
        shift[0] = (low + high) / 2
        passing = int(((logits + shift).softmax(-1)[..., 1:] > model.score_thresh).sum())
        low, high = ((low + high) / 2, high) if passing > PAIRS else (low, (low + high) / 2)
    for predict in model.head.classification_head.module_list:
        last = predict[-1] if isinstance(predict, nn.Sequential) else predict
        last.bias.view(-1, logits.shape[-1])[:, 0] += low
    return passing


def as_after_training(make: Callable[..., nn.Module], jpeg: bytes) -> nn.Module:
    """A peer's model with random weights and about `PAIRS` pairs above the threshold on the photo."""
    torch.manual_seed(0)
    model = make(weights=None, weights_backbone=None, num_classes=91).eval()
    pixels = decode_image(torch.frombuffer(bytearray(jpeg), dtype=torch.uint8), ImageReadMode.RGB)[None] / 255
    with torch.no_grad():
        spread(model, pixels)
        print(f"{make.__name__}: {raise_background(model, pixels)} pairs above the threshold")
    return model


def peer(model: nn.Module, jpeg: bytes) -> Run:
    """torchvision from bytes to detections."""
    data = torch.frombuffer(bytearray(jpeg), dtype=torch.uint8)

    def run() -> object:
        with torch.inference_mode():
            return model([decode_image(data, ImageReadMode.RGB) / 255])

    return run


def milliseconds(sides: dict[str, Run], rounds: int) -> dict[str, float]:
    """Median time of every side; all take turns, so that what else the machine does meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 3):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            if number >= 3:  # warm
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def our_sides(model: nn.Module, jpeg: bytes, folder: Path) -> tuple[dict[str, Run], dict[str, Run]]:
    """Our engines from bytes to detections, and the steps of the default one."""
    torch.save(model.state_dict(), folder / "torchvision.pth")
    network = load_model(folder / "torchvision.pth")
    files = {weights: folder / f"{weights}.onnx" for weights in ("fp32", "int8")}
    for weights, path in files.items():
        parity = export_onnx(network, path, weights=weights)
        print(f"{weights}, {path.stat().st_size / 1e6:.1f} MB: {parity}")
    default = Detector(open_engine(files["fp32"], "auto", threads=THREADS))
    engines = {
        f"multibox, {default.engine.name} (default)": default,
        "multibox, default, int8 storage": Detector(open_engine(files["int8"], "auto", threads=THREADS)),
        "multibox, onnxruntime": Detector(open_engine(files["fp32"], "onnxruntime", threads=THREADS)),
        "multibox, torch": Detector(TorchEngine(network, threads=THREADS)),
    }
    photo = read_image(jpeg)
    batch = prepare(photo, network.spec.input).pixels[None]
    steps: dict[str, Run] = {
        "decode": lambda: read_image(jpeg),
        "resize": lambda: prepare(photo, network.spec.input),
        "engine (network and post-processing)": lambda: default.engine.run(batch),
    }
    sides = {name: (lambda detector=detector: detector.predict(jpeg, conf=0.0)) for name, detector in engines.items()}
    return sides, steps


def measure(make: Callable[..., nn.Module], jpeg: bytes, rounds: int) -> tuple[dict[str, float], float]:
    """Times of one architecture on all sides, printed too, and how many times as fast our default engine is."""
    model = as_after_training(make, jpeg)
    with tempfile.TemporaryDirectory() as folder:
        ours, steps = our_sides(model, jpeg, Path(folder))
        times = milliseconds({**ours, "torchvision": peer(model, jpeg)}, rounds)
        times |= milliseconds(steps, 3 * rounds)
    for name, value in times.items():
        print(f"  {value:8.2f} ms  {name}")
    ratio = times["torchvision"] / next(iter(times.values()))
    print(f"  default engine: {ratio:.1f} times as fast as torchvision's {make.__name__} (goal {GOALS[make.__name__]})")
    return times, ratio


def main() -> None:
    """Prints times and ratios; exit code 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    cv2.setNumThreads(THREADS)
    jpeg = photo_bytes(options.photo)
    print(f"torchvision {torchvision.__version__}, torch {torch.__version__}, {THREADS} threads, medians:")
    measured = {
        make.__name__: measure(make, jpeg, options.rounds) for make in (ssdlite320_mobilenet_v3_large, ssd300_vgg16)
    }
    if options.json:
        facts = {name: {"milliseconds": times, "ratio": ratio} for name, (times, ratio) in measured.items()}
        options.json.write_text(json.dumps(facts))
    raise SystemExit(int(any(ratio < GOALS[name] for name, (_, ratio) in measured.items())))


if __name__ == "__main__":
    main()
