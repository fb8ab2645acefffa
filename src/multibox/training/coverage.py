"""How well a model's priors fit the objects of a dataset, before anything is learnt."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from multibox.boxes.coding import to_corners
from multibox.boxes.overlap import pairwise_iou
from multibox.data.dataset import Boxes, Dataset
from multibox.images.prepare import letterbox_area
from multibox.network.model import SSD
from multibox.spec import InputSpec
from multibox.training.options import TrainOptions

_ENOUGH = 0.5
"""IoU from which a prior fits."""

_POOR = 0.8
"""A size of which a smaller share of the objects has a prior that fits is worth a warning."""

_PHOTOS = 5000
"""How many are looked at, at most."""

_SIZES = (("under 16 px", 0, 16), ("16-32 px", 16, 32), ("32-96 px", 32, 96), ("over 96 px", 96, np.inf))
"""Names, and sides of the square of equal area in pixels of the network's input."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Each object's side (of the square of equal area, in pixels of the input) and its best IoU with a prior [n]."""

    sides: NDArray[np.float32]
    best: NDArray[np.float32]

    def by_size(self) -> dict[str, tuple[float, int]]:
        """(share of the objects that have a prior of IoU >= 0.5, number of objects) of each size that there is."""
        chosen = {name: (self.sides >= low) & (self.sides < high) for name, low, high in _SIZES}
        return {
            name: (float((self.best[mask] >= _ENOUGH).mean()), int(mask.sum()))
            for name, mask in chosen.items()
            if mask.any()
        }

    def poor(self) -> list[str]:
        """The sizes of which fewer than 80 % of the objects have such a prior."""
        return [name for name, (share, _) in self.by_size().items() if share < _POOR]


def fit_of(dataset: Dataset, network: SSD) -> Fit:
    """The fit of the network's priors to the dataset's objects, without augmentation; crowds are left out.

    Of more than 5,000 photos every k-th is looked at, so that a training need not wait.
    """
    priors, spec = to_corners(network.priors), network.spec.input
    unit = np.array([spec.width, spec.height] * 2, np.float32)
    sides, best = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    some = replace(dataset, records=dataset.records[:: -(-len(dataset) // _PHOTOS)])
    for boxes in boxes_on_input(some, spec):
        best.append(pairwise_iou(torch.from_numpy(boxes / unit), priors).amax(dim=1).numpy())
        sides.append(np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1)))
    return Fit(np.concatenate(sides), np.concatenate(best))


def boxes_on_input(dataset: Dataset, spec: InputSpec) -> list[Boxes]:
    """Boxes x1, y1, x2, y2 [n, 4] in pixels of the network's input of every photo that has objects, without crowds."""
    found = []
    for record in dataset.records:
        x, y, width, height = 0, 0, spec.width, spec.height
        if spec.resize == "letterbox":
            x, y, width, height = letterbox_area(record.width, record.height, spec)
        scale = np.array([width / record.width, height / record.height] * 2)
        boxes = record.boxes[~record.crowd]
        if len(boxes):
            found.append(np.asarray(boxes * scale + np.array([x, y] * 2), np.float32))
    return found


def remedy(poor: list[str], options: TrainOptions, *, fitted: bool) -> str:
    """The sentence for sizes of which few objects have a prior: the command that makes a sheet which has them.

    Where the priors are `fitted` already, only a larger input helps: objects must be large against the finest stride.
    """
    said = f"few priors fit objects of {' and '.join(poor)}: they will be found less well; "
    if fitted:
        return said + "the priors are fitted already, and a larger --imgsz would make these objects larger"
    asked = [("data", options.data), ("model", options.model), ("backbone", options.backbone), ("imgsz", options.imgsz)]
    asked += [("split", options.split)] if options.split != "train" else []
    words = " ".join(f"--{name} {value}" for name, value in asked if value)
    start = f" --weights {options.start}" if options.start else ""
    larger = f"; those {_SIZES[0][0]} also need a larger --imgsz" if _SIZES[0][0] in poor else ""
    return (
        f"{said}`multibox priors {words} -o fitted.toml` writes a sheet with priors fitted to the data, to train with "
        f"--model fitted.toml{start}{larger}"
    )
