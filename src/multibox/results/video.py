"""Annotated frames into a video file: H.264 in .mp4, which browsers play."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multibox.errors import MultiboxError
from multibox.results.files import make_folder, part_of, refusal


class VideoFile:
    """Writes RGB frames of one size to an .mp4 that appears under its name when it is complete."""

    def __init__(self, path: Path, fps: float) -> None:
        """Nothing is opened before the first frame tells the size. `path` ends in .mp4."""
        self._path, self._part = path, part_of(path)
        self._rate = Fraction(fps).limit_denominator(1001)
        self._container: Any = None
        self._stream: Any = None

    def add(self, frame: npt.NDArray[np.uint8]) -> None:
        """Writes one frame uint8 [H, W, 3] RGB. Raises `MultiboxError` where the file cannot be written."""
        import av  # comes with supervision; OpenCV's wheels have no H.264 encoder

        if self._container is None:
            self._open(frame.shape[1], frame.shape[0])
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(_even(frame)), format="rgb24")
        try:
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except OSError as error:
            self.close(keep=False)
            raise refusal(self._path, error) from None

    def close(self, *, keep: bool = True) -> None:
        """Ends the file and puts it in its place; without `keep` it is removed."""
        container, self._container = self._container, None
        if container is None:
            return
        try:
            if keep:
                for packet in self._stream.encode():
                    container.mux(packet)
            container.close()
            if keep:
                self._part.replace(self._path)
        except OSError as error:
            raise refusal(self._path, error) from None
        finally:
            self._part.unlink(missing_ok=True)

    def _open(self, width: int, height: int) -> None:
        """Opens the encoder; its sides are even, as 4:2:0 colour asks."""
        import av

        make_folder(self._path.parent)
        try:
            self._container = av.open(str(self._part), mode="w")
            self._stream = self._container.add_stream(_codec(), rate=self._rate)
        except OSError as error:
            raise refusal(self._path, error) from None
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"


def _codec() -> str:
    """H.264 where this build of FFmpeg has an encoder for it, else MPEG-4."""
    import av

    for name in ("libx264", "libopenh264", "mpeg4"):
        if name in av.codec.codecs_available:
            return name
    raise MultiboxError("this installation of PyAV has no video encoder; use --no-save")


def _even(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The frame with its last row or column repeated where a side is odd."""
    height, width = frame.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return frame
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
