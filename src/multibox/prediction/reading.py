"""Entries become prepared pixels, read ahead in threads; what cannot be read becomes a sentence."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from multibox.errors import DataError
from multibox.images.prepare import Prepared, prepare
from multibox.images.read import read_image
from multibox.prediction.ahead import ahead
from multibox.prediction.sources import Entry, Pixels, Source, expand
from multibox.prediction.video import read_frames, read_info
from multibox.results.prediction import Frame, Objects, Prediction
from multibox.spec import InputSpec


@dataclass(frozen=True, kw_only=True)
class Item:
    """One picture or one frame to be prepared, or why there is none."""

    entry: Entry
    name: str
    pixels: Pixels | None = None
    frame: Frame | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """An item with its pixels at network size, or without them where it cannot be read."""

    item: Item
    prepared: Prepared | None = None
    image: npt.NDArray[np.uint8] | None = None
    seconds: float = 0.0
    error: str | None = None

    def predicted(self, objects: Objects, seconds: float) -> Prediction:
        """The prediction with this item's objects; `seconds` is the network's share."""
        return Prediction(
            path=self.item.entry.path,
            name=self.item.name,
            objects=objects,
            image=self.image,
            width=self.prepared.width if self.prepared else 0,
            height=self.prepared.height if self.prepared else 0,
            frame=self.item.frame,
            seconds=self.seconds + seconds,
            error=self.error,
        )


def load_items(
    sources: Source | Entry | Iterable[Source | Entry],
    input: InputSpec,
    stride: int,
    keep_image: bool,
    *,
    waiting: int,
    workers: int,
) -> Generator[Loaded]:
    """All pictures and frames of the sources in order, at most `waiting` of them ahead of their use."""
    return ahead(_items(sources, stride), partial(_load, input, keep_image), waiting=waiting, workers=workers)


def _items(sources: Source | Entry | Iterable[Source | Entry], stride: int) -> Iterator[Item]:
    """One item per picture and per frame, each with a name of its own."""
    taken: set[str] = set()
    for entry in expand(sources):
        name = _free(entry.name, taken)
        if not entry.video or entry.path is None:
            yield Item(entry=entry, name=name, pixels=entry.pixels, error=entry.error)
            continue
        try:
            fps = read_info(entry.path).fps / stride
            for number, pixels in read_frames(entry.path, stride):
                frame = Frame(number=number, video=name, fps=fps)
                yield Item(entry=entry, name=f"{name}_{number:06d}", pixels=pixels, frame=frame)
        except DataError as error:
            yield Item(entry=entry, name=name, error=str(error))


def _free(name: str, taken: set[str]) -> str:
    """The name, or `name_2`, `name_3` ... where it was given before (`a.jpg` and `a.png`)."""
    number, free = 1, name
    while free.casefold() in taken:  # also apart on file systems that ignore case
        number += 1
        free = f"{name}_{number}"
    taken.add(free.casefold())
    return free


def _load(input: InputSpec, keep_image: bool, item: Item) -> Loaded:
    """Decodes and resizes one item."""
    if item.pixels is None:
        return Loaded(item=item, error=item.error or f"{item.name}: no pixels")
    start = time.perf_counter()
    try:
        image = read_image(item.pixels)
        prepared = prepare(image, input)
    except DataError as error:
        return Loaded(item=item, error=str(error))
    seconds = time.perf_counter() - start
    return Loaded(item=item, prepared=prepared, image=image if keep_image else None, seconds=seconds)
