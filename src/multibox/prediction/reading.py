"""Entries become prepared pixels, files read ahead in threads, live ones as they come; failures become sentences."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import numpy.typing as npt

from multibox.errors import DataError
from multibox.prediction.addresses import shown
from multibox.prediction.ahead import ahead
from multibox.prediction.live import Live, Shot, watch
from multibox.prediction.seeing import see
from multibox.prediction.sources import Entry, Pixels, Source, expand
from multibox.prediction.tiles import Tiles, View
from multibox.prediction.video import read_frames, read_info
from multibox.results.prediction import Frame, Objects, Prediction
from multibox.spec import InputSpec


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How sources are read: for which `input`, every n-th frame (`stride`), in `tiles`, `batch` pictures at once."""

    input: InputSpec
    batch: int
    stride: int
    workers: int
    keep_image: bool
    tiles: Tiles | None
    live: Live


@dataclass(frozen=True, kw_only=True)
class Item:
    """One picture or one frame to be prepared, or why there is none; frames of live sources come with their `shot`."""

    entry: Entry
    name: str
    pixels: Pixels | None = None
    frame: Frame | None = None
    error: str | None = None
    shot: Shot | None = None


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """An item as the network will see it, or without any view where it cannot be read; sizes are the photo's."""

    item: Item
    views: tuple[View, ...] = ()
    width: int = 0
    height: int = 0
    image: npt.NDArray[np.uint8] | None = None
    seconds: float = 0.0
    error: str | None = None

    def predicted(self, objects: Objects, seconds: float) -> Prediction:
        """The prediction with this item's objects; `seconds` is the network's share."""
        shot, address = self.item.shot, self.item.entry.address
        return Prediction(
            path=self.item.entry.path,
            name=self.item.name,
            objects=objects,
            image=self.image,
            width=self.width,
            height=self.height,
            frame=self.item.frame,
            seconds=self.seconds + seconds,
            error=self.error,
            address=shown(address) if address is not None else None,
            latency=time.monotonic() - shot.arrived if shot is not None and self.error is None else None,
            dropped=shot.dropped if shot is not None else 0,
        )


LiveEntry = tuple[Entry, str]
"""A live source and its name."""


def load_files(
    sources: Source | Entry | Iterable[Source | Entry], reading: Reading, live: list[LiveEntry]
) -> Generator[list[Loaded]]:
    """All pictures and frames of files in order, `reading.batch` at once, read a little ahead; live sources are put
    aside in `live`.
    """
    work = partial(_load, reading)
    waiting = 2 * reading.batch + reading.workers
    with closing(ahead(_items(sources, reading.stride, live), work, waiting=waiting, workers=reading.workers)) as items:
        while batch := list(islice(items, reading.batch)):
            yield batch


def load_live(live: Sequence[LiveEntry], reading: Reading) -> Generator[list[Loaded]]:
    """Of all live sources those frames that are there, at most `reading.batch` at once."""
    addresses = [entry.address for entry, _ in live if entry.address is not None]
    with closing(watch(addresses, reading.stride, reading.live, most=reading.batch)) as shots:
        for turn in shots:
            yield [_load(reading, _of_shot(*live[shot.source], shot)) for shot in turn]


def _of_shot(entry: Entry, name: str, shot: Shot) -> Item:
    """The item of a live source's frame."""
    if shot.error is not None:
        return Item(entry=entry, name=name, error=shot.error, shot=shot)
    frame = Frame(number=shot.number, video=name, fps=shot.fps, at=shot.at)
    return Item(entry=entry, name=f"{name}_{shot.number:06d}", pixels=shot.pixels, frame=frame, shot=shot)


def _items(sources: Source | Entry | Iterable[Source | Entry], stride: int, live: list[LiveEntry]) -> Iterator[Item]:
    """One item per picture and per frame, each with a name of its own; live sources are put aside, with theirs."""
    taken: set[str] = set()
    for entry in expand(sources):
        name = _free(entry.name, taken)
        if entry.address is not None:
            live.append((entry, name))
            continue
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


def _load(reading: Reading, item: Item) -> Loaded:
    """Decodes and resizes one item."""
    if item.pixels is None:
        return Loaded(item=item, error=item.error or f"{item.name}: no pixels")
    start = time.perf_counter()
    try:
        seen = see(item.pixels, reading.input, reading.tiles)
        image = seen.whole_image() if reading.keep_image else None
    except DataError as error:
        return Loaded(item=item, error=str(error))
    return Loaded(
        item=item,
        views=seen.views,
        width=seen.width,
        height=seen.height,
        image=image,
        seconds=time.perf_counter() - start,
    )
