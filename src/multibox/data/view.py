"""What is seen of one photo or of several in the network's input, before its colours and its mirror."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multibox.data.photo import Photo
from multibox.data.render import Area
from multibox.images.read import Pixels


@dataclass(frozen=True, slots=True)
class Item:
    """A photo and what is learnt of it: boxes x1, y1, x2, y2 [n, 4] in pixels of the upright photo, labels [n]."""

    photo: Photo
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class View:
    """Pixels uint8 [h, w, 3] RGB at network size, the `area` of them that is photo, boxes as fractions, labels."""

    image: Pixels
    area: Area
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
