"""The manifest: one Parquet file that says which picture belongs to which shard; row group n is shard n."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from multibox.errors import MultiboxError
from multibox.scale.files import Place, short, write
from multibox.scale.listing import Picture

NAME = "_manifest.parquet"
_SCHEMA = pa.schema([("id", pa.string()), ("path", pa.string()), ("table", pa.string()), ("group", pa.int32())])
_EVERY = 1.0
"""Seconds between two reports."""


def write_manifest(
    output: Place, shards: Iterable[list[Picture]], scratch: Path, report: Callable[[int], None]
) -> tuple[int, int]:
    """Writes the manifest into the output folder; how many pictures and shards it holds.

    Nothing is written where there is no picture. `report` is told now and then how many there are so far.
    """
    file = scratch / NAME
    pictures = cut = 0
    last = time.monotonic()
    with pq.ParquetWriter(file, _SCHEMA, compression="zstd", write_statistics=False) as writer:
        for shard in shards:
            columns = dict(zip(_SCHEMA.names, zip(*shard, strict=True), strict=True))
            writer.write_table(pa.table(columns, schema=_SCHEMA), row_group_size=len(shard))
            pictures, cut = pictures + len(shard), cut + 1
            if time.monotonic() - last > _EVERY:
                last = time.monotonic()
                report(pictures)
    if pictures:
        write(output.beside(NAME), file)
    return pictures, cut


class Manifest:
    """An output folder's manifest, opened; shards are read one at a time."""

    def __init__(self, output: Place) -> None:
        """Raises `MultiboxError` where it is absent or damaged."""
        place = output.beside(NAME)
        try:
            self._file: Any = pq.ParquetFile(place.path, filesystem=place.fs)
        except (OSError, pa.ArrowException) as error:
            raise MultiboxError(f"{place.path}: the manifest cannot be read ({short(error)})") from None

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return int(self._file.metadata.num_row_groups)

    @property
    def pictures(self) -> int:
        """How many pictures there are."""
        return int(self._file.metadata.num_rows)

    def size(self, shard: int) -> int:
        """How many pictures a shard holds."""
        return int(self._file.metadata.row_group(shard).num_rows)

    def read(self, shard: int) -> list[Picture]:
        """A shard's pictures, in order."""
        columns = self._file.read_row_group(shard).to_pydict()
        return [Picture(*values) for values in zip(*(columns[name] for name in _SCHEMA.names), strict=True)]

    def ids(self, shard: int) -> Any:
        """The names of a shard's pictures, as an Arrow column."""
        return self._file.read_row_group(shard, columns=["id"]).column("id")
