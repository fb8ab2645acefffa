"""Other ways to run such a detector, from the bytes of a JPEG to detections: OpenCV's DNN module, plain ONNX Runtime,
and a nano-size YOLO.

Usage: python benchmarks/rivals.py [--yolo FILE.onnx] [--threads 2] [--seconds 5] [--files FOLDER] [--json FILE]
SSDLite320 with the same weights on all sides (see `ready.py`), which take turns:
  multibox           `Detector.predict` on every engine
  ONNX Runtime       the exported file with its NMS inside, run by hand: cv2.imdecode, cv2.resize, session.run
  ONNX Runtime, cut  the same file cut where boxes and scores of all priors come out; cv2.dnn.NMSBoxesBatched
  OpenCV DNN, cut    that cut file on OpenCV's own runtime, then cv2.dnn.NMSBoxesBatched
OpenCV's runtime takes float images [1, 3, h, w]; its file has no normalisation: blobFromImage does it. `--yolo` is
an ONNX file of YOLOX's form (images float [1, 3, h, w], 0..255, BGR -> [1, n, 5 + classes], decoded, in pixels); it
runs on ONNX Runtime and on OpenVINO. With random weights nothing passes its threshold, so that its NMS costs nothing:
the comparison is in its favour. Nothing is compared by accuracy here.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from ready import SSDLITE, Network, arguments, kept, open_network, photo_bytes, set_threads
from torch import Tensor, nn

from multibox.boxes.coding import decode
from multibox.evaluation.bare_file import write_bare
from multibox.evaluation.stopwatch import Call, Effort, Spread, take_turns
from multibox.network.model import SSD
from multibox.spec import ModelSpec
from multibox.zoo.models import load_model

Run = Callable[[NDArray[Any]], list[NDArray[Any]]]


class Plain(nn.Module):
    """A network for runtimes that take normalised float images: decoded boxes and scores, no NMS."""

    def __init__(self, model: SSD) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes [n, p, 4] as fractions and foreground scores [n, p, c]."""
        logits, offsets = self.model(images)
        return decode(offsets, self.model.priors, self.model.spec.coder).clamp(0, 1), logits.softmax(-1)[..., 1:]


def export_plain(network: Network, path: Path) -> None:
    """Writes `Plain` for one image, where it is not there yet."""
    if path.exists():
        return
    model = load_model(network.weights)
    example = torch.zeros(1, 3, model.spec.input.height, model.spec.input.width)
    torch.onnx.export(
        Plain(model).eval(), (example,), str(path), dynamo=True, external_data=False, verbose=False,
        input_names=["images"], output_names=["dense_boxes", "dense_scores"],
    )  # fmt: skip


def session(path: Path, threads: int) -> Run:
    """The file on ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    opened = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = opened.get_inputs()[0].name
    return lambda batch: list(opened.run(None, {name: batch}))


def compiled(path: Path, threads: int) -> Run:
    """The file on OpenVINO."""
    from multibox.prediction.engines.openvino_core import openvino_core

    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    request = openvino_core().compile_model(str(path), "CPU", options).create_infer_request()
    return lambda batch: [np.asarray(value) for value in request.infer([batch], share_inputs=True).values()]


def opencv_dnn(path: Path) -> Run:
    """The file on OpenCV's runtime, with as many threads as OpenCV has."""
    net = cv2.dnn.readNetFromONNX(str(path))

    def run(batch: NDArray[Any]) -> list[NDArray[Any]]:
        net.setInput(batch)
        return list(net.forward(["dense_boxes", "dense_scores"]))

    return run


def suppress(boxes: NDArray[Any], scores: NDArray[Any], spec: ModelSpec) -> NDArray[Any]:
    """What OpenCV's users do: candidates above the threshold, then NMSBoxesBatched; the rows that stay.

    `boxes` [p, 4] are corners as fractions, `scores` [p, c].
    """
    rule = spec.postprocess
    prior, label = np.nonzero(scores > rule.score_threshold)
    corners, found = boxes[prior], scores[prior, label]
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1) * spec.input.width
    kept = cv2.dnn.NMSBoxesBatched(
        sides.tolist(), found.tolist(), label.tolist(), rule.score_threshold, rule.iou, top_k=rule.max_detections or 200
    )
    return np.asarray(kept, np.int64)


def by_hand(network: Network, jpeg: bytes, threads: int, folder: Path) -> dict[str, Call]:
    """The same network without multibox."""
    exported = network.exported["fp32"]
    bare, plain = folder / "cut.onnx", folder / f"{network.name}-plain.onnx"
    write_bare(exported, bare)
    export_plain(network, plain)
    spec = load_model(network.weights).spec
    size = (spec.input.width, spec.input.height)
    data = np.frombuffer(jpeg, np.uint8)
    whole, cut = session(exported, threads), session(bare, threads)

    def pixels() -> NDArray[Any]:
        return np.asarray(cv2.resize(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), size))[None]

    def run_cut() -> object:
        boxes, scores = cut(pixels())
        return suppress(boxes[0], scores[0], spec)

    sides: dict[str, Call] = {"ONNX Runtime by hand": lambda: whole(pixels()), "ONNX Runtime, cut + NMSBoxes": run_cut}
    try:
        net = opencv_dnn(plain)
        net(np.zeros((1, 3, size[1], size[0]), np.float32))
    except cv2.error as error:
        print(f"OpenCV DNN {cv2.__version__} does not run the file: {' '.join(str(error).split())[:200]}")
        return sides
    mean, std = spec.input.mean, spec.input.std[0]  # blobFromImage knows one scale for all colours

    def run_dnn() -> object:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        boxes, scores = net(cv2.dnn.blobFromImage(image, 1 / std, size, mean, swapRB=True))
        return suppress(boxes[0], scores[0], spec)

    return {**sides, "OpenCV DNN, cut + NMSBoxes": run_dnn}


def yolo(path: Path, jpeg: bytes, threads: int) -> dict[str, Call]:
    """A network of YOLOX's form on both runtimes, with its letterbox resize and NMS."""
    shape = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()[0].shape
    height, width = (int(side) for side in shape[2:])
    data = np.frombuffer(jpeg, np.uint8)

    def side(run: Run) -> Call:
        def call() -> object:
            image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
            scale = min(height / image.shape[0], width / image.shape[1])
            small = cv2.resize(image, (round(image.shape[1] * scale), round(image.shape[0] * scale)))
            canvas = np.full((height, width, 3), 114, np.uint8)
            canvas[: small.shape[0], : small.shape[1]] = small
            rows = run(np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], dtype=np.float32))[0][0]
            scores = rows[:, 4:5] * rows[:, 5:]
            prior, label = np.nonzero(scores > 0.01)
            found, centres = scores[prior, label], rows[prior, :4]
            boxes = np.concatenate([centres[:, :2] - centres[:, 2:] / 2, centres[:, 2:]], axis=1)
            return cv2.dnn.NMSBoxesBatched(boxes.tolist(), found.tolist(), label.tolist(), 0.01, 0.65)

        return call

    sides = {f"{path.stem} {width}x{height}, ONNX Runtime": side(session(path, threads))}
    if importlib.util.find_spec("openvino"):
        sides[f"{path.stem} {width}x{height}, OpenVINO"] = side(compiled(path, threads))
    return sides


def main() -> None:
    """Prints every side's milliseconds beside the fastest of ours."""
    parser = arguments(__doc__)
    parser.add_argument("--yolo", type=Path, nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    set_threads(args.threads)
    jpeg = photo_bytes()
    with kept(args.files) as folder:
        network = open_network(SSDLITE, folder, jpeg)
        sides: dict[str, Call] = {}
        for name, detector in network.detectors(args.threads).items():
            sides[f"multibox {name}"] = partial(detector.predict, jpeg, conf=0.0)
        sides |= by_hand(network, jpeg, args.threads, folder)
        for path in args.yolo:
            sides |= yolo(path, jpeg, args.threads)
        times = {name: Spread.of(values) for name, values in take_turns(sides, Effort(seconds=args.seconds)).items()}
    best = min(spread.p50 for name, spread in times.items() if name.startswith("multibox") and name.endswith("fp32"))
    print(
        f"OpenCV {cv2.__version__}, ONNX Runtime {onnxruntime.__version__}, {args.threads} threads; x: of ours in fp32"
    )
    for name, spread in times.items():
        print(f"{name:<40} {spread.p50:8.2f} ms ({spread.p10:.2f}-{spread.p90:.2f})  {spread.p50 / best:5.2f}x")
    if args.json:
        args.json.write_text(json.dumps({name: asdict(spread) for name, spread in times.items()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
