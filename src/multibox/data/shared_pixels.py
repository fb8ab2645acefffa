"""One block of bytes in memory that all processes of a training on this machine see, without copies."""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class SharedBytes:
    """`size` bytes; whoever gets it by fork or by pickle sees the same ones, as long as its maker lives.

    On Linux it is a file in memory without a name, which goes with its last user, however that ends. Elsewhere it is a
    file among the temporary ones, which its maker deletes.
    """

    def __init__(self, size: int) -> None:
        """All zeros. Raises `OSError`."""
        if hasattr(os, "memfd_create"):
            number = os.memfd_create("multibox")
            self._path = f"/proc/{os.getpid()}/fd/{number}"
            weakref.finalize(self, os.close, number)
        else:
            number, self._path = tempfile.mkstemp(prefix="multibox")
            os.close(number)
            weakref.finalize(self, _delete, Path(self._path))
        os.truncate(self._path, size)
        self.bytes = self._open(write=True)

    def __getstate__(self) -> str:
        """Where it is."""
        return self._path

    def __setstate__(self, path: str) -> None:
        """Opened anew, to read."""
        self._path = path
        self.bytes = self._open(write=False)

    def _open(self, *, write: bool) -> NDArray[np.uint8]:
        """The block as an array of this process."""
        with Path(self._path).open("r+b" if write else "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return np.zeros(0, np.uint8)
            access = mmap.ACCESS_WRITE if write else mmap.ACCESS_READ
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=access), np.uint8)


def _delete(path: Path) -> None:
    """Removes a file that may be gone."""
    with suppress(OSError):
        path.unlink()
