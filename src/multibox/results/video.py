"""Annotated frames into a video file: H.264 in .mp4, which browsers play, safe against an end at any moment."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multibox.errors import MultiboxError
from multibox.results.files import make_folder, part_of, refusal
from multibox.results.salvage import cut_to_fragments

_FRAGMENTS = {"movflags": "hybrid_fragmented", "frag_duration": "2000000", "flush_packets": "1"}
"""Every 2 s of video are written as a fragment that plays by itself; a complete file becomes a plain .mp4."""

_TICKS = 1000
"""Ticks per second of the clock of frames that come at no fixed rate."""


class VideoFile:
    """Writes RGB frames to an .mp4 that appears under its name when it is complete.

    Where the disk is full, the frames up to then are kept under that name: what was watched live does not come again.
    """

    def __init__(self, path: Path, fps: float, *, timed: bool = False) -> None:
        """Nothing is opened before the first frame tells the size. `path` ends in .mp4; `timed` frames tell when they
        are to be shown, others follow each other at `fps`.
        """
        self._path, self._part = path, part_of(path)
        self._rate = Fraction(fps).limit_denominator(1001)
        self._timed, self._shown = timed, -1
        self._container: Any = None
        self._stream: Any = None

    def add(self, frame: npt.NDArray[np.uint8], at: float = 0.0) -> None:
        """Writes one frame uint8 [H, W, 3] RGB, `at` seconds from the first one where frames are timed; one of another
        size is brought to that of the first.

        Raises `MultiboxError` where the file cannot be written.
        """
        import av  # comes with supervision; OpenCV's wheels have no H.264 encoder

        if self._container is None:
            self._open(frame.shape[1], frame.shape[0])
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(_even(frame)), format="rgb24")
        if self._timed:
            self._shown = max(self._shown + 1, round(at * _TICKS))
            picture.pts, picture.time_base = self._shown, Fraction(1, _TICKS)
        try:
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except OSError as error:
            container, self._container = self._container, None
            self._rescue(container)
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
            self._rescue(container)
            raise refusal(self._path, error) from None
        finally:
            self._part.unlink(missing_ok=True)

    def _rescue(self, container: Any) -> None:
        """Keeps the whole fragments of a file that cannot be completed, if there are any."""
        with suppress(OSError):
            container.close()
        with suppress(OSError):
            if cut_to_fragments(self._part):
                self._part.replace(self._path)
        self._part.unlink(missing_ok=True)

    def _open(self, width: int, height: int) -> None:
        """Opens the encoder; its sides are even, as 4:2:0 colour asks."""
        import av

        make_folder(self._path.parent)
        try:
            self._container = av.open(str(self._part), mode="w", options=_FRAGMENTS)
            self._stream = self._container.add_stream(_codec(), rate=self._rate)
        except OSError as error:
            raise refusal(self._path, error) from None
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"
        # Frames out of order would be shown late in the fragments that a full disk leaves.
        self._stream.codec_context.max_b_frames = 0
        if self._timed:
            self._stream.codec_context.time_base = Fraction(1, _TICKS)


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
