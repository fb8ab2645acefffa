"""What the benchmarks of prediction share: photos, networks as after training, torchvision's twins, engines of ours.

torchvision's two SSDs get random weights of which about 2,000 (prior, class) pairs pass the threshold on the photo, as
after training (`multibox.evaluation.made_up`); torchvision's own model gets the very same ones. Files are kept in the
folder of `--files` and used again: `NAME.safetensors` (ours), `NAME.pth` (the twin), `NAME.fp32.onnx`, which OpenVINO
also runs in bf16. Every further `NAME.WORD.onnx` or `.xml` that lies there takes part under that word, such as one that
`multibox export NAME.safetensors --precision int8 --calibrate FOLDER -o NAME.int8.onnx` wrote.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import nn
from torchvision.io import ImageReadMode, decode_image

from multibox.cli.sample import sample_photo
from multibox.evaluation.made_up import make_up
from multibox.evaluation.peer import open_twin, save_twin
from multibox.exporting.export import export_model
from multibox.exporting.order import make_order
from multibox.images.prepare import prepare
from multibox.images.read import read_image
from multibox.installed import is_installed
from multibox.prediction.detector import Detector, load
from multibox.prediction.engines import RUNTIMES, EngineName
from multibox.weights import checkpoint
from multibox.zoo import load_spec

SSDLITE, VGG = "ssdlite320_mobilenet_v3_large", "ssd300_vgg16"


@dataclass(frozen=True)
class Side:
    """A file on an engine; `precision` where it is not the file's own, `word` what it is called."""

    word: str
    path: Path
    engine: EngineName
    precision: Literal["bf16"] | None = None

    def open(self, threads: int, calls: int = 1) -> Detector:
        """The detector, for so many calls at once."""
        return load(self.path, self.engine, threads=threads, precision=self.precision, calls=calls)


@dataclass(frozen=True)
class Network:
    """One architecture with its files: ours as weights, exported by precision, and the twin."""

    name: str
    weights: Path
    exported: dict[str, Path]
    twin: Path

    def sides(self) -> dict[str, Side]:
        """Ours, exported, on every engine in every precision: `openvino fp32` and so on."""
        found = {
            f"{engine} {word}": Side(word, path, engine)
            for word, path in self.exported.items()
            for engine in RUNTIMES[path.suffix]
            if is_installed(engine)
        }
        if is_installed("openvino"):
            found["openvino bf16"] = Side("bf16", self.exported["fp32"], "openvino", "bf16")
        return found

    def detectors(self, threads: int, calls: int = 1) -> dict[str, Detector]:
        """All of them, opened."""
        return {name: side.open(threads, calls) for name, side in self.sides().items()}

    def torchvision(self) -> nn.Module:
        """The twin."""
        return open_twin(self.twin)


def open_network(name: str, folder: Path, jpeg: bytes) -> Network:
    """The network of torchvision's sheet of this architecture, its files made where they are not there yet."""
    weights, twin, exported = (folder / f"{name}{ending}" for ending in (".safetensors", ".pth", ".fp32.onnx"))
    if not exported.exists():
        spec = load_spec(f"{name}.torchvision_coco")
        model = make_up(spec, prepare(read_image(jpeg), spec.input).pixels)
        checkpoint.save(weights, model.state_dict(), model.spec)
        save_twin(model, twin)
        print(f"{name}: {export_model(model, exported, make_order()).agreement}", flush=True)
    files = [path for path in folder.glob(f"{name}.*") if path.suffix in (".onnx", ".xml")]
    return Network(name, weights, {path.stem.removeprefix(f"{name}."): path for path in sorted(files)}, twin)


@contextmanager
def kept(folder: Path | None) -> Iterator[Path]:
    """The folder that was asked for, or one that is gone afterwards."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def sample(path: Path | None = None) -> np.ndarray:
    """A photo in OpenCV's order: that of `path`, or the one that matplotlib installs."""
    return np.asarray(cv2.imread(str(path or sample_photo())))


def photo_bytes(path: Path | None = None) -> bytes:
    """A 640x480 JPEG of quality 90."""
    image = cv2.resize(sample(path), (640, 480), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())


SIZES = ((640, 480), (480, 640), (500, 375), (640, 427), (800, 600), (1024, 768), (1280, 720), (320, 240))


def photo_folder(folder: Path, count: int) -> list[Path]:
    """`count` JPEG files of COCO's and other sizes: pieces of the photo, mirrored or not, brighter or darker."""
    folder.mkdir(parents=True, exist_ok=True)
    photo, generator = sample(), np.random.default_rng(0)
    paths = [folder / f"{number:06d}.jpg" for number in range(count)]
    for path in paths:
        width, height = SIZES[generator.integers(len(SIZES))]
        side = generator.uniform(0.5, 1.0)
        tall, wide = int(photo.shape[0] * side), int(photo.shape[1] * side)
        top, left = (
            int(generator.integers(whole - part + 1)) for whole, part in zip(photo.shape, (tall, wide), strict=False)
        )
        piece = cv2.resize(photo[top : top + tall, left : left + wide], (width, height))
        piece = cv2.convertScaleAbs(piece[:, :: generator.choice((-1, 1))], alpha=generator.uniform(0.7, 1.3))
        quality = int(generator.integers(75, 96))
        if not path.exists():
            cv2.imwrite(str(path), piece, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return paths


def decode(data: bytes) -> torch.Tensor:
    """JPEG bytes as torchvision's models take them."""
    pixels: torch.Tensor = decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
    return pixels / 255


def arguments(text: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all these scripts have; `set_threads` makes use of one."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, help="keep the networks here, and use those that are here")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of every side")
    return parser


def set_threads(threads: int) -> None:
    """The threads of torch and OpenCV; engines are told theirs when they are opened."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
