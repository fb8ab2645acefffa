"""Frames out of video files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from multibox.errors import DataError

VIDEO_SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"),
        *(".wmv", ".flv", ".ts", ".3gp", ".ogv", ".mjpeg"),
    )
)


@dataclass(frozen=True)
class VideoInfo:
    """What the header says: frames per second, and the number of frames where it is known."""

    fps: float
    frames: int | None


def is_video(path: Path) -> bool:
    """Whether the suffix is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def read_info(path: Path) -> VideoInfo:
    """The header's facts; 25 frames per second and no count where it is broken (reading will say so)."""
    capture = cv2.VideoCapture(str(path))
    try:
        return _info(capture)
    finally:
        capture.release()


def _info(capture: cv2.VideoCapture) -> VideoInfo:
    """The header's facts of an open video."""
    fps, frames = float(capture.get(cv2.CAP_PROP_FPS)), float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    # Streams recorded by browsers report no duration as a huge negative count.
    known = math.isfinite(frames) and 0 < frames < 1e9
    return VideoInfo(fps if math.isfinite(fps) and fps > 0 else 25.0, int(frames) if known else None)


def read_frames(path: Path, stride: int = 1) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Every `stride`-th frame with its number (from 0), uint8 [H, W, 3] RGB, turned upright as the file asks.

    Raises `DataError` for a file without a readable frame, and behind the last frame of one that ends before its time.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        info = _info(capture)
        number, seconds = 0, 0.0
        while capture.grab():
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if number % stride == 0:
                readable, frame = capture.retrieve()
                if readable:
                    yield number, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            number += 1
        if number == 0:
            raise DataError(f"{path}: not a readable video")
        if _cut_off(info, number, seconds):
            raise DataError(f"{path}: cut off or damaged behind frame {number - 1} of {info.frames}")
    finally:
        capture.release()


def _cut_off(info: VideoInfo, frames: int, seconds: float) -> bool:
    """Whether a file ended before its time: both in frames and in `seconds`, as a header may estimate either."""
    if info.frames is None or seconds <= 0:
        return False
    duration = info.frames / info.fps
    return frames < 0.98 * info.frames - 1 and seconds < 0.95 * duration - 0.5
