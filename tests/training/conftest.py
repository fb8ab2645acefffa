"""A real, tiny training: photos of coloured rectangles, and SSDLite at 96 pixels."""

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.training.options import TrainOptions

_COLORS = {"red": (40, 40, 220), "blue": (220, 60, 40)}  # BGR
_SHEET = Path(__file__).parents[2] / "src/multibox/zoo/models/ssdlite320_mobilenet_v3_large.toml"


def render_rectangles(folder: Path, splits: dict[str, int], *, empty: bool = False, seed: int = 0) -> Path:
    """A VOC dataset of grey photos with one or two filled rectangles each; with `empty`, without any object."""
    rng = np.random.default_rng(seed)
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for split, count in splits.items():
        stems = [f"{split}{index:03d}" for index in range(count)]
        (folder / "ImageSets/Main" / f"{split}.txt").write_text("\n".join(stems) + "\n")
        for stem in stems:
            image = np.full((120, 160, 3), 128, np.uint8) + rng.integers(0, 20, (120, 160, 3), dtype=np.uint8)
            objects = "" if empty else "".join(_rectangle(image, name, rng) for name in _chosen(rng))
            cv2.imwrite(str(folder / "JPEGImages" / f"{stem}.jpg"), image)
            size = "<size><width>160</width><height>120</height><depth>3</depth></size>"
            text = f"<annotation><filename>{stem}.jpg</filename>{size}{objects}</annotation>"
            (folder / "Annotations" / f"{stem}.xml").write_text(text)
    return folder


def _chosen(rng: np.random.Generator) -> list[str]:
    return list(rng.choice(list(_COLORS), size=rng.integers(1, 3), replace=False))


def _rectangle(image: np.ndarray, name: str, rng: np.random.Generator) -> str:
    x1, y1 = int(rng.integers(0, 90)), int(rng.integers(0, 60))
    x2, y2 = x1 + int(rng.integers(40, 70)), y1 + int(rng.integers(35, 60))
    cv2.rectangle(image, (x1, y1), (x2, y2), _COLORS[name], cv2.FILLED)
    box = f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
    return f"<object><name>{name}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>"


@pytest.fixture(scope="session")
def render() -> Callable[..., Path]:
    """`render_rectangles`, for tests that need a dataset of their own."""
    return render_rectangles


@pytest.fixture(scope="session")
def rectangles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 photos to learn from, 4 to validate on."""
    return render_rectangles(tmp_path_factory.mktemp("rectangles"), {"train": 16, "val": 4})


@pytest.fixture(scope="session")
def small_sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SSDLite with an input of 96 x 96, priors in proportion."""
    text = _SHEET.read_text().replace("height = 320", "height = 96").replace("width = 320", "width = 96")
    text = re.sub(r"(m(?:in|ax)_size = )([\d.]+)", lambda found: f"{found[1]}{float(found[2]) * 96 / 320}", text)
    path = tmp_path_factory.mktemp("sheet") / "small.toml"
    path.write_text(text)
    return path


@pytest.fixture
def options(rectangles: Path, small_sheet: Path, tmp_path: Path) -> TrainOptions:
    """A training of two short epochs in this process."""
    return TrainOptions(
        data=str(rectangles), model=str(small_sheet), epochs=2, batch=4, workers=0, project=str(tmp_path / "runs"),
        device="cpu", crop_min=0.6, zoom_out=0.0,
    )  # fmt: skip
