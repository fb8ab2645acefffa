"""One connection to a camera or to a stream: frames one after the other, until it ends or breaks."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from multibox.errors import DataError
from multibox.prediction.addresses import camera_number, shown

_RATE = 25.0
"""Frames per second where the source declares none."""


class Capture(Protocol):
    """An open connection. `grab` waits for the next frame, `pixels` gives it; both in one thread."""

    fps: float
    """Frames per second as declared."""

    recorded: bool
    """Whether the source is of known length, so that its end is no failure and its frames can wait."""

    def grab(self) -> bool:
        """Takes the next frame; false at the end of a recording. Raises `DataError` where the connection broke."""

    def pixels(self) -> npt.NDArray[np.uint8]:
        """The frame that was grabbed last, uint8 [H, W, 3] RGB."""

    def close(self) -> None:
        """Ends the connection."""


def open_capture(address: str, timeout: float) -> Capture:
    """The connection to `camera:N` or to an address; no answer or no frame within `timeout` seconds is a failure.

    Raises `DataError` without naming the source (the caller does), where there is none.
    """
    number = camera_number(address)
    return CameraCapture(number) if number is not None else StreamCapture(address, timeout)


class CameraCapture:
    """A camera of this machine, by OpenCV, which knows the cameras of every system."""

    recorded = False

    def __init__(self, number: int) -> None:
        """Raises `DataError` where there is no such camera."""
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # else every backend complains
        try:
            self._capture = cv2.VideoCapture(number)
        finally:
            cv2.utils.logging.setLogLevel(level)
        if not self._capture.isOpened():
            raise DataError("no such camera, or another program holds it")
        declared = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = declared if 0 < declared < 1000 else _RATE

    def grab(self) -> bool:
        """Takes the next frame."""
        if not self._capture.grab():
            raise DataError("the camera gives no more frames")
        return True

    def pixels(self) -> npt.NDArray[np.uint8]:
        """The frame that was grabbed last."""
        readable, frame = self._capture.retrieve()
        if not readable:
            raise DataError("the camera gave a frame that cannot be read")
        turned: npt.NDArray[np.uint8] = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        return turned

    def close(self) -> None:
        """Lets the camera go."""
        self._capture.release()


class StreamCapture:
    """A stream from an address, by FFmpeg (PyAV), which says why a connection broke."""

    def __init__(self, address: str, timeout: float) -> None:
        """Raises `DataError` where nothing answers, or something that is no video."""
        import av

        self._timeout, self._address = timeout, address
        options = {"rtsp_flags": "prefer_tcp"} if address.startswith("rtsp") else {}
        try:
            self._container: Any = av.open(address, timeout=(timeout, timeout), options=options)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise DataError(f"cannot be opened ({self._reason(error, 'no answer')})") from None
        self._frames = self._decoded()
        self._frame: Any = None
        try:
            self._check()
        except DataError:
            self.close()
            raise

    def _check(self) -> None:
        """Looks at what was opened. Raises `DataError` for a picture and for something without video."""
        if not self._container.streams.video:
            raise DataError("has no video")
        if self._container.format.name.startswith("image") or self._container.format.name.endswith("_pipe"):
            raise DataError("is a single picture, and files are not fetched; download it and name the file")
        video = self._container.streams.video[0]
        declared = float(video.average_rate or video.guessed_rate or 0)
        self.fps = declared if 0 < declared < 1000 else _RATE
        self.recorded = self._container.duration is not None and self._container.duration > 0

    def grab(self) -> bool:
        """Decodes the next frame."""
        import av

        try:
            self._frame = next(self._frames, None)
        except (av.FFmpegError, OSError) as error:
            raise DataError(f"the stream broke ({self._reason(error, 'no frame')})") from None
        if self._frame is None and not self.recorded:
            raise DataError("the stream ended")
        return self._frame is not None

    def pixels(self) -> npt.NDArray[np.uint8]:
        """The frame that was grabbed last."""
        pixels: npt.NDArray[np.uint8] = self._frame.to_ndarray(format="rgb24")
        return pixels

    def close(self) -> None:
        """Hangs up; the decoding ends first, as it must not outlive what it reads from."""
        self._frames.close()
        self._container.close()

    def _decoded(self) -> Generator[Any]:
        """All frames; packets that were damaged on their way are passed over."""
        import av

        for packet in self._container.demux(video=0):
            try:
                yield from packet.decode()
            except av.InvalidDataError:
                continue

    def _reason(self, error: Exception, waited: str) -> str:
        """FFmpeg's words, or that the time was over; never the address, which may hold a password."""
        import av

        if isinstance(error, av.ExitError):
            return f"{waited} within {self._timeout:g} s"
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return str(text).replace(self._address, shown(self._address))
