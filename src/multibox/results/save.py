"""Everything a run leaves in its folder: pictures and videos with boxes, and the boxes in the formats asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
from PIL import Image

from multibox.errors import MultiboxError
from multibox.results.draw import draw
from multibox.results.files import placed
from multibox.results.prediction import Frame, Prediction
from multibox.results.video import VideoFile
from multibox.results.write import PLACES, open_writer

_KEPT_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class Saver:
    """Takes predictions as they come, as a context: leaving it completes the files, an unforeseen failure removes them.

    Pictures keep their names (as .jpg where their format is none that is written); a video's frames become one .mp4,
    and so do those of each live source, however they alternate. Where one file cannot be written (a full disk), all are
    completed with what there is.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], ids: Sequence[int], *, formats: Sequence[str], pictures: bool
    ) -> None:
        """Opens the files in `folder`. Raises `UsageError` for an unknown format, `MultiboxError` for a bad place."""
        self._folder, self._pictures = folder, pictures
        self._writers = [open_writer(format, folder / PLACES.get(format, format), names, ids) for format in formats]
        self._videos: dict[str, VideoFile] = {}

    def __enter__(self) -> Saver:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Completes all files, or gives them up where the block failed in a way that nobody foresaw."""
        keep = kind is None or issubclass(kind, MultiboxError)
        ends = [partial(video.close, keep=keep) for video in self._videos.values()]
        ends += [writer.close if keep else writer.discard for writer in self._writers]
        self._videos = {}
        failures = []
        for end in ends:  # all of them, also behind one that fails
            try:
                end()
            except MultiboxError as failure:
                failures.append(failure)
        if failures and kind is None:
            raise failures[0]

    def add(self, prediction: Prediction) -> None:
        """Saves one prediction; one with an `error` leaves nothing."""
        if prediction.error is not None:
            return
        for writer in self._writers:
            writer.add(prediction)
        if self._pictures and prediction.image is not None:
            drawn = draw(prediction.image, prediction.detections)
            if prediction.frame is None:
                self._save_picture(prediction, drawn)
            else:
                self._save_frame(prediction.frame, drawn)

    def _save_picture(self, prediction: Prediction, drawn: npt.NDArray[np.uint8]) -> None:
        """Writes one picture under its own name."""
        suffix = prediction.path.suffix if prediction.path is not None else ""
        suffix = suffix if suffix.lower() in _KEPT_SUFFIXES else ".jpg"
        with placed(self._folder / f"{prediction.name}{suffix}") as part:
            if suffix.lower() in (".jpg", ".jpeg"):
                Image.fromarray(drawn).save(part, quality=92)
            else:
                Image.fromarray(drawn).save(part)

    def _save_frame(self, frame: Frame, drawn: npt.NDArray[np.uint8]) -> None:
        """Adds one frame to its video; the first of another video ends the last one, unless both are live."""
        if frame.video not in self._videos:
            if frame.at is None:
                self._end_videos()
            path = self._folder / f"{frame.video}.mp4"
            self._videos[frame.video] = VideoFile(path, frame.fps, timed=frame.at is not None)
        self._videos[frame.video].add(drawn, frame.at or 0.0)

    def _end_videos(self) -> None:
        """Ends the videos that are being written, if any."""
        while self._videos:
            _, video = self._videos.popitem()
            video.close()
