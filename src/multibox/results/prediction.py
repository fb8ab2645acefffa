"""What was found in one picture: the record that is drawn, written and printed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import supervision as sv


class Objects(NamedTuple):
    """What was found in one picture, highest score first: boxes float32 [k, 4] x1, y1, x2, y2 in pixels of the photo,
    scores float32 [k], labels int64 [k] (0-based index into the model's names), names str [k].

    Plain arrays: supervision, which takes half a second to import, is only needed by those who ask for its type.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    names: npt.NDArray[np.str_]

    def as_detections(self) -> sv.Detections:
        """The same as `supervision.Detections`, with `data["class_name"]`."""
        import supervision as sv

        data = {"class_name": self.names}
        return sv.Detections(xyxy=self.boxes, confidence=self.scores, class_id=self.labels, data=data)


NOTHING = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.str_))
"""A picture without objects."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Which frame of which video: its `number` from 0, the output name of its `video`, and the frames per second that
    are taken of it. Frames of live sources have `at`, the seconds since the first one, as they come at no fixed rate.
    """

    number: int
    video: str
    fps: float
    at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The objects of one picture or of one frame of a video; where `error` is set, there are none.

    `path` is the file that was read, none for pixels handed over in memory and for live sources, which have an
    `address` (without password). `name` is a relative path without suffix, unique within one stream: the name of output
    files. `image` is uint8 [H, W, 3] RGB, upright. `seconds` is the time for reading, resizing and this picture's share
    of the network's batch. For live sources `latency` is the age of the frame in seconds since it was received,
    `dropped` how many frames had to make room for newer ones so far.
    """

    path: Path | None
    name: str
    objects: Objects
    image: npt.NDArray[np.uint8] | None = None
    width: int = 0
    height: int = 0
    frame: Frame | None = None
    seconds: float = 0.0
    error: str | None = None
    address: str | None = None
    latency: float | None = None
    dropped: int = 0

    @property
    def where(self) -> str:
        """The path, or the address, or the name where there is neither."""
        return str(self.path) if self.path is not None else self.address or self.name

    @cached_property
    def detections(self) -> sv.Detections:
        """The objects as `supervision.Detections`, with `data["class_name"]`."""
        return self.objects.as_detections()

    @property
    def source(self) -> str:
        """What a person calls this picture: where it is from, with the frame's number for a video."""
        return self.where if self.frame is None else f"{self.where} frame {self.frame.number}"
