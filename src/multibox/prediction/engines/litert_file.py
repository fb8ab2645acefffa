"""A .tflite file of ours as bytes, and what it says about itself, read without LiteRT.

The description is a file in a zip that follows the model, which is where TFLite's own metadata keeps such files;
runtimes pass over it.
"""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

from multibox.errors import ModelError
from multibox.prediction.engines.description import KEY, Description, read_description
from multibox.prediction.engines.file import ModelFile, read_bytes

_NAME = f"{KEY}.json"
_MAGIC = slice(4, 8)


def append_description(path: Path, description: Description) -> None:
    """Writes the description behind the model in the file."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_NAME, description.to_text())


def is_ours(path: Path) -> bool:
    """Whether the file is one that `multibox export` made, rather than a model of TensorFlow's to be imported."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _NAME in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def read_litert(path: str | Path) -> ModelFile:
    """Reads the .tflite that `multibox export` made. Raises `ModelError` for other files."""
    path = Path(path)
    data = read_bytes(path)
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            told = archive.read(_NAME).decode()
    except (zipfile.BadZipFile, KeyError, ValueError):
        raise ModelError(f"{path}: not a whole LiteRT file that multibox exported") from None
    if data[_MAGIC] != b"TFL3":
        raise ModelError(f"{path}: not a LiteRT file")
    return ModelFile(path, data, read_description(told, path))
