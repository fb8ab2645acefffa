"""A torch program (.pt2) as bytes, and what it says about itself, read without torch.

The file is a zip. Torch would run any pickle in it, so one that holds pickles is refused: what `multibox export` writes
holds tensors as plain bytes.
"""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path

from multibox.errors import ModelError
from multibox.prediction.engines.description import KEY, read_description
from multibox.prediction.engines.file import ModelFile, read_bytes

_EXTRA = f"extra/{KEY}"
_PLAIN = ("weight_", "tensor_")
"""How entries begin that are tensors."""


def read_program(path: str | Path) -> ModelFile:
    """Reads the .pt2 that `multibox export` made. Raises `ModelError` for other files."""
    path = Path(path)
    data = read_bytes(path)
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = archive.namelist()
            own = next((name for name in names if name.partition("/")[2] == _EXTRA), None)
            if own is None:
                raise ModelError(
                    f"{path}: a torch program that multibox did not export; make one with 'multibox export'"
                )
            _refuse_pickles(archive, names, path)
            return ModelFile(path, data, read_description(archive.read(own).decode(), path))
    except (zipfile.BadZipFile, EOFError, UnicodeDecodeError, ValueError, NotImplementedError):
        raise ModelError(f"{path}: not a whole torch program; it was cut off, or is something else") from None


def _refuse_pickles(archive: zipfile.ZipFile, names: list[str], path: Path) -> None:
    """Raises `ModelError` where a tensor, an object or an example input of the file may be a pickle that torch runs."""
    pickled = any(archive.getinfo(name).file_size for name in names if "/data/sample_inputs/" in name)
    for name in names:
        if name.endswith("_config.json"):
            for entry in json.loads(archive.read(name)).get("config", {}).values():
                plain = str(entry.get("path_name")).startswith(_PLAIN)
                pickled = pickled or not plain or bool(entry.get("use_pickle"))
    if pickled:
        raise ModelError(f"{path}: holds pickled objects, which multibox does not run")
