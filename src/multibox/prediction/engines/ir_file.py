"""An exported pair of OpenVINO's files as bytes, and what it says about itself, read without OpenVINO."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import ParseError

from multibox.errors import ModelError
from multibox.prediction.engines.description import KEY, read_description
from multibox.prediction.engines.file import ModelFile, read_bytes

_START, _END = b"<rt_info>", b"</rt_info>"


def read_ir(path: str | Path) -> ModelFile:
    """Reads the .xml that `multibox export` made, and the .bin beside it. Raises `ModelError` for other files."""
    path = Path(path)
    data = read_bytes(path)
    return ModelFile(path, data, read_description(_told(data, path), path), read_bytes(path.with_suffix(".bin")))


def _told(data: bytes, path: Path) -> str:
    """The description among the model's facts, which end the file; the megabytes of layers before are passed over."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    end = data.rfind(_END) + len(_END)
    start = data.rfind(_START, 0, end)
    if start < 0 or b"<net" not in data[:1000] or data[end:].strip() != b"</net>":
        raise ModelError(f"{path}: not a whole OpenVINO model; it was cut off, or is something else")
    try:
        entry = fromstring(data[start:end]).find(KEY)
    except (ParseError, DefusedXmlException) as error:
        raise ModelError(f"{path}: not a whole OpenVINO model ({error})") from None
    if entry is None:
        raise ModelError(f"{path}: an OpenVINO model that multibox did not export; make one with 'multibox export'")
    return str(entry.get("value", ""))
